"""What a layer has beside codes and scales: balanced channels, a branch, another bias."""

import copy
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ptq.adms.audioldm import AudioLDM
from ptq.affine import sqnr_db
from ptq.algorithms.lowrank import low_rank
from ptq.algorithms.smooth import channel_balance
from ptq.checkpoint import load_packed, save_packed
from ptq.config import QuantConfig, parse_rules
from ptq.errors import CalibrationError
from ptq.layers import get_layer, inventory
from ptq.observers import CalibrationStats, LayerObserver
from ptq.plan import QuantPlan, resolve_plan
from ptq.quantize import quantize_
from ptq.quantized_layer import QuantizedLayer
from ptq.scheme import Balance
from ptq.shards import stored_bytes
from ptq.study import run_study
from ptq.study_config import StudyConfig
from tests.calibrations import drawn

Parts = dict[str, nn.Module]
CHANNELS = 24
LAYERS = ["denoiser.0", "denoiser.1", "denoiser.2"]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def build() -> Parts:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(CHANNELS, 16, 3, padding=1), nn.Conv1d(CHANNELS, 16, 3), nn.Linear(CHANNELS, 16)
    )
    for layer in layers:  # biases that a file keeps in float16
        layer.get_parameter("bias").data = layer.get_parameter("bias").detach().half().float()
    return {"denoiser": layers.eval()}


def inputs() -> dict[str, Tensor]:
    """What each layer is given: three channels are fifty times as loud as the others."""
    loud = torch.ones(CHANNELS)
    loud[:3] = 50.0
    return {
        "denoiser.0": normal(4, CHANNELS, 12, 10) * loud[:, None, None] + 0.5,
        "denoiser.1": normal(4, CHANNELS, 40, seed=1) * loud[:, None] + 0.5,
        "denoiser.2": normal(4, 60, CHANNELS, seed=2) * loud + 0.5,
    }


def per_place(values: Tensor, name: str) -> Tensor:
    """A sample's mean of each channel at all of its places."""
    places = (1,) if name == "denoiser.2" else tuple(range(2, values.ndim))
    return values.mean(dim=places, keepdim=True).expand_as(values).contiguous()


def plan_of(words: str) -> QuantPlan:
    config = QuantConfig(name="test", rules=parse_rules(f"* = {words}"))
    return resolve_plan(config, inventory(build()))


def observed(words: str, given: Mapping[str, Tensor]) -> CalibrationStats:
    """Statistics as calibration takes them: once for the balance, then with it."""
    stats = {}
    for spec in plan_of(words).layers:
        weight = get_layer(build(), spec.name).weight
        axis, kind = (-1 if spec.name == "denoiser.2" else 1), Balance.NONE
        if spec.scheme.weight is not None:
            kind = spec.scheme.weight.balance
        balance = None
        for _ in range(2 if kind is not Balance.NONE else 1):
            observer = LayerObserver(channel_axis=axis, balance=balance)
            observer.update_(given[spec.name])
            stats[spec.name] = observer.result()
            if kind is not Balance.NONE and balance is None:
                assert isinstance(weight, Tensor)
                rows = weight.detach().reshape(len(weight), -1)
                balance = channel_balance(stats[spec.name].channel_peak, rows, kind)
    return stats


def quantized(words: str, given: Mapping[str, Tensor] | None = None) -> Parts:
    parts = build()
    quantize_(parts, plan_of(words), observed(words, given or inputs()))
    return parts


def errors_db(words: str) -> dict[str, float]:
    """How close the outputs of each layer come."""
    exact, close = build(), quantized(words)
    return {
        name: sqnr_db(get_layer(exact, name)(given), get_layer(close, name)(given))
        for name, given in inputs().items()
    }


@pytest.mark.parametrize("words", ["w8 smooth", "w8 smooth-time", "w8 r4", "w8 smooth r4"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_with_its_effective_weight(words: str, name: str) -> None:
    layer = get_layer(quantized(words), name)
    assert isinstance(layer, QuantizedLayer)
    twin = copy.deepcopy(get_layer(build(), name))
    with torch.no_grad():
        twin.get_parameter("weight").copy_(layer.effective_weight)
    given = inputs()[name]
    assert sqnr_db(twin(given), layer(given)) > 90.0
    assert sqnr_db(get_layer(build(), name).get_parameter("weight"), layer.effective_weight) > 30


def test_balanced_channels_make_room_for_the_quiet_ones() -> None:
    """SmoothQuant: loud channels take the levels of an 8-bit input; evened out, they do not."""
    for name, plain in errors_db("w8 a8").items():
        assert errors_db("w8 a8 smooth")[name] > plain + 3.0, name


def test_balance_is_the_geometric_mean_of_both_sides_up_to_a_common_factor() -> None:
    peaks, rows = normal(1, 6).abs() + 0.1, normal(5, 18)
    found = channel_balance(peaks, rows, Balance.SMOOTH)
    weights = rows.abs().reshape(5, 6, 3).amax(dim=(0, 2))
    expected = (peaks[0] / weights).sqrt()
    ratio = found / expected
    assert torch.allclose(ratio, ratio[:1].expand(6), rtol=2e-3)
    assert float(found.log().mean()) == pytest.approx(0.0, abs=1e-3)


def test_time_awareness_matters_only_where_time_does() -> None:
    still, rows = normal(1, 6).abs().repeat(4, 1) + 0.1, normal(5, 6)
    plain = channel_balance(still, rows, Balance.SMOOTH)
    assert torch.allclose(channel_balance(still, rows, Balance.SMOOTH_TIME), plain, rtol=2e-3)
    weights = rows.abs().amax(dim=0)
    alike, opposed = weights, weights.max() + weights.min() - weights
    found = channel_balance(torch.stack([alike, opposed]), rows, Balance.SMOOTH_TIME)
    # Where the loud channels are not the weight's, exp(1) against exp(-1) says which part counts.
    share = torch.tensor(1.0).exp() / (torch.tensor(1.0).exp() + torch.tensor(-1.0).exp())
    expected = (((1 - share) * alike + share * opposed) / weights).sqrt()
    ratio = found / expected
    assert torch.allclose(ratio, ratio[:1].expand(6), rtol=2e-3)


def test_channels_that_are_alike_count_alike_wherever_they_stand() -> None:
    peaks, rows = normal(3, 8).abs() + 0.1, normal(5, 8)
    peaks[:, 2:7] = 0.0  # silent, as after a gate
    turned = torch.tensor([7, 3, 0, 6, 1, 5, 2, 4])
    found = channel_balance(peaks, rows, Balance.SMOOTH_TIME)
    again = channel_balance(peaks[:, turned], rows[:, turned], Balance.SMOOTH_TIME)
    assert torch.allclose(again, found[turned], rtol=2e-3)


def test_a_silent_channel_is_left_alone() -> None:
    peaks = torch.tensor([[0.0, 1.0, 2.0]])
    found = channel_balance(peaks, torch.tensor([[1.0, 0.0, 2.0]]), Balance.SMOOTH)
    assert found[:2].tolist() == [1.0, 1.0]
    assert torch.isfinite(found).all()
    # However many are silent, the others are balanced as without them.
    loud = torch.tensor([[1.0, 10.0, 100.0]])
    without = channel_balance(loud, torch.ones(2, 3), Balance.SMOOTH)
    wide = torch.cat([loud, torch.zeros(1, 96)], dim=1)
    assert torch.equal(channel_balance(wide, torch.ones(2, 99), Balance.SMOOTH)[:3], without)
    nothing = channel_balance(torch.zeros(1, 3), torch.ones(2, 3), Balance.SMOOTH)
    assert nothing.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("shape", [(20, 50), (50, 20)])
def test_no_branch_of_its_rank_comes_nearer(shape: tuple[int, int]) -> None:
    """Eckart and Young: what is left has the smaller singular values, and no less is possible."""
    rows = normal(*shape)
    left, right = low_rank(rows, 5)
    assert (left.shape, right.shape) == ((shape[0], 5), (5, shape[1]))
    rest = float((rows - left.float() @ right.float()).square().sum())
    values = torch.linalg.svdvals(rows.double())
    assert rest == pytest.approx(float(values[5:].square().sum()), rel=2e-3)


def test_a_branch_takes_what_stretches_the_range() -> None:
    rows = normal(16, 24) + 30.0 * normal(16, 1, seed=1) @ normal(1, 24, seed=2)
    parts = build()
    parts["denoiser"].get_submodule("2").get_parameter("weight").data = rows
    found = []
    for words in ("w3 channel", "w3 channel r1"):
        close = copy.deepcopy(parts)
        quantize_(close, plan_of(words), {})
        layer = get_layer(close, "denoiser.2")
        assert isinstance(layer, QuantizedLayer)
        found.append(sqnr_db(rows, layer.effective_weight))
    assert found[1] > found[0] + 20.0


def test_a_branch_of_full_rank_leaves_nothing_to_round() -> None:
    assert all(found > 50.0 for found in errors_db("w2 channel r16").values())


@pytest.mark.parametrize("words", ["w2 channel debias", "w3 debias smooth", "w2 debias r2"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_corrected_bias_leaves_no_mean_error(name: str, words: str) -> None:
    # Every place sees its channel's own mean, so that every window of a convolution does.
    given = {key: per_place(value, key) for key, value in inputs().items()}
    # Windows at padded edges see less.
    edge = 1 if name == "denoiser.0" else 0
    corrected = mean_error(quantized(words, given), name, given[name], edge)
    without = mean_error(quantized(words.replace(" debias", ""), given), name, given[name], edge)
    assert corrected < 2e-3
    assert without > 10 * corrected


@pytest.mark.parametrize("words", ["w2 channel debias", "w3 debias smooth", "w2 debias r2"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_corrected_bias_takes_much_of_the_mean_error_of_any_input(name: str, words: str) -> None:
    """Of a window's inputs, and so at padded edges, only the channel's mean is known."""
    given = inputs()[name]
    corrected = mean_error(quantized(words), name, given)
    assert corrected < 0.7 * mean_error(quantized(words.replace(" debias", "")), name, given)


@torch.no_grad()
def mean_error(parts: Parts, name: str, given: Tensor, edge: int = 0) -> float:
    """Largest mean error of an output channel, without so many places at either edge."""
    difference = get_layer(parts, name)(given) - get_layer(build(), name)(given)
    inner = difference[:, :, edge:-edge, edge:-edge] if edge else difference
    channels = -1 if name == "denoiser.2" else 1
    return float(inner.movedim(channels, -1).flatten(0, -2).mean(dim=0).abs().max())


def test_what_cannot_have_it_goes_without() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.ConvTranspose2d(4, 4, 2), nn.Conv2d(4, 4, 1, groups=2), nn.Linear(4, 4, bias=False)
    )
    parts: Parts = {"denoiser": layers}
    rules = parse_rules("* = w4 channel gptq smooth r2 debias")
    plan = resolve_plan(QuantConfig(name="test", rules=rules), inventory(parts))
    found = [spec.scheme.weight for spec in plan.layers]
    for weight in found[:2]:
        assert weight is not None
        assert not weight.sees_inputs
        assert weight.rank == 0
    assert found[2] is not None
    assert (found[2].rank, found[2].debias) == (2, False)


@pytest.mark.parametrize("words", ["w4 smooth r3 debias", "w4 g24 smooth-time a8 r40 mse"])
def test_corrections_are_packed_exactly_and_counted(words: str, tmp_path: Path) -> None:
    parts, plan = quantized(words), plan_of(words)
    save_packed(tmp_path / "packed", parts, plan)
    loaded = build()
    assert load_packed(tmp_path / "packed", loaded).sha256 == plan.sha256
    for name, given in inputs().items():
        assert torch.equal(get_layer(loaded, name)(given), get_layer(parts, name)(given))
    stored = stored_bytes(tmp_path / "packed")
    for spec, info in zip(plan.layers, inventory(build()), strict=True):
        ranges = 0 if spec.scheme.activation is None else 8
        assert stored[spec.name] == spec.bytes_stored(info) + ranges, spec.name


def test_statistics_without_balance_are_refused() -> None:
    with pytest.raises(CalibrationError, match="calibrated without balance"):
        quantize_(build(), plan_of("w8 smooth"), observed("w8 a8", inputs()))
    with pytest.raises(CalibrationError, match="was calibrated with balance"):
        quantize_(build(), plan_of("w8 a8"), observed("w8 a8 smooth", inputs()))
    with pytest.raises(CalibrationError, match="was calibrated with balance"):
        quantize_(build(), plan_of("w8 debias"), observed("w8 smooth", inputs()))
    with pytest.raises(CalibrationError, match="no statistics to correct its bias"):
        quantize_(build(), plan_of("w8 debias"), {})


def test_a_study_balances_branches_and_corrects(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    rules = "denoiser.*attn* = w4 gptq smooth-time r2 debias a8 mse t3\ndenoiser.* = w8 smooth a8"
    config = StudyConfig(
        adm=tiny_adm.id,
        quant=QuantConfig(name="corrected", rules=parse_rules(rules)),
        prompts=("a dog barks",),
        steps=3,
        seconds=0.64,
        calibration=drawn(prompts=2, states=3, reconstruction=3),
    )
    report = run_study(config, tiny_adm, runs=tmp_path, ear="no ear")
    assert report.paired.latent_sqnr_db is not None
    assert report.paired.latent_sqnr_db > 10.0
