"""Quantized layers compute what their codes say."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ptq.activation import ActivationQuantizer
from ptq.affine import choose_qparams, fake_quantize, sqnr_db
from ptq.algorithms import quantize_weight
from ptq.context import StepContext, current_step, step_context
from ptq.errors import CalibrationError, LayerError
from ptq.layer_spec import LayerKind
from ptq.layers import get_layer, inventory, layer_kind, set_layer_
from ptq.modules import QuantConv2d, quantized_layer
from ptq.quantized_layer import QuantizedLayer
from ptq.scheme import ActivationMode, ActivationScheme, Granularity, WeightScheme
from ptq.sites import AttentionProbabilities
from ptq.weights import QuantizedWeight, from_rows, to_rows

DYNAMIC = ActivationScheme(bits=8, mode=ActivationMode.DYNAMIC)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer_and_input(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    choices: dict[str, tuple[nn.Module, Tensor]] = {
        "linear": (nn.Linear(12, 5), normal(2, 3, 12)),
        "conv1d": (nn.Conv1d(4, 6, 3, padding=2, dilation=2), normal(2, 4, 9)),
        "conv2d": (nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), normal(2, 4, 8, 6)),
        "grouped": (nn.Conv2d(4, 6, 3, groups=2), normal(2, 4, 8, 6)),
        "same": (nn.Conv1d(4, 6, 3, padding="same"), normal(2, 4, 8)),
        "reflect": (nn.Conv1d(4, 6, 3, padding=1, padding_mode="reflect"), normal(2, 4, 8)),
        "transposed1d": (nn.ConvTranspose1d(4, 6, 4, stride=2, padding=1), normal(2, 4, 8)),
        "transposed2d": (
            nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2),
            normal(2, 4, 5, 5),
        ),
        "embedding": (nn.Embedding(10, 8), torch.tensor([[1, 2], [9, 1]])),
    }
    return choices[name]


KINDS = ["linear", "conv1d", "conv2d", "grouped", "same", "reflect"]
KINDS += ["transposed1d", "transposed2d", "embedding"]


def quantize_rows(module: nn.Module, scheme: WeightScheme) -> QuantizedWeight:
    kind, weight = layer_kind(module), module.weight
    if kind is None or not isinstance(weight, Tensor):
        raise TypeError
    groups = getattr(module, "groups", 1)
    return quantize_weight(to_rows(weight.detach(), kind, groups), scheme)


def weight_only(module: nn.Module, scheme: WeightScheme) -> QuantizedLayer:
    return quantized_layer(module, weight=quantize_rows(module, scheme), input_quantizer=None)


@pytest.mark.parametrize("name", KINDS)
def test_a_layer_computes_with_the_weight_of_its_codes(name: str) -> None:
    module, values = layer_and_input(name)
    quantized = weight_only(module, WeightScheme(bits=8))
    twin = copy.deepcopy(module)
    with torch.no_grad():
        twin.get_parameter("weight").copy_(quantized.weight)
    assert torch.equal(quantized(values), twin(values))
    assert not torch.equal(quantized(values), module(values))
    assert sqnr_db(module(values), quantized(values)) > 35.0


@pytest.mark.parametrize("name", KINDS)
def test_keeping_both_is_bit_identical(name: str) -> None:
    module, values = layer_and_input(name)
    kept = quantized_layer(module, weight=None, input_quantizer=None)
    assert torch.equal(kept(values), module(values))


@pytest.mark.parametrize("name", KINDS)
def test_rows_round_trip(name: str) -> None:
    module, _ = layer_and_input(name)
    kind, weight = layer_kind(module), module.get_parameter("weight").detach()
    assert kind is not None
    groups = getattr(module, "groups", 1)
    rows = to_rows(weight, kind, groups)
    assert torch.equal(from_rows(rows, weight.shape, kind, groups), weight)
    (info,) = inventory({"part": nn.Sequential(module)})
    assert rows.shape == (info.parameters // info.row, info.row)


def test_transposed_rows_are_output_channels() -> None:
    module, values = layer_and_input("transposed2d")
    rows = to_rows(module.get_parameter("weight").detach(), LayerKind.CONV_TRANSPOSE2D, groups=2)
    rows = rows.clone()
    rows[4] = 0.0
    weight = from_rows(rows, (4, 3, 3, 3), LayerKind.CONV_TRANSPOSE2D, groups=2)
    output = functional.conv_transpose2d(values, weight, groups=2)
    silent = [channel for channel in range(6) if not output[:, channel].any()]
    assert silent == [4]


def test_codes_are_buffers_and_survive_state_dict() -> None:
    module, values = layer_and_input("conv2d")
    saved, other = (weight_only(module, WeightScheme(bits=b)) for b in (4, 8))
    assert {"codes", "scale"} <= {name for name, _ in saved.named_buffers()}
    expected = saved(values)
    assert not torch.equal(other(values), expected)
    other.load_state_dict(saved.state_dict())
    assert torch.equal(other(values), expected)


def test_casting_does_not_round_scales() -> None:
    module, _ = layer_and_input("linear")
    quantized = weight_only(module, WeightScheme(bits=4))
    scale = quantized.get_buffer("scale").clone()
    quantized.to(torch.bfloat16)
    assert quantized.weight.dtype == torch.bfloat16
    quantized.to(torch.float32)
    assert torch.equal(quantized.get_buffer("scale"), scale)
    assert quantized.weight.dtype == torch.float32


def test_inference_mode_leaves_a_usable_weight() -> None:
    module, values = layer_and_input("linear")
    quantized = weight_only(module, WeightScheme(bits=4))
    with torch.inference_mode():
        quantized(values)
    quantized(values.requires_grad_()).sum().backward()
    assert values.grad is not None


def test_dynamic_ranges_do_not_depend_on_the_batch() -> None:
    for axis, shape in ((-1, (4, 3, 8)), (1, (4, 3, 8, 5))):
        quantizer = ActivationQuantizer(DYNAMIC, channel_axis=axis)
        values = normal(*shape) * torch.logspace(0, 3, 4).reshape(4, *[1] * (len(shape) - 1))
        single = torch.cat([quantizer(values[i : i + 1]) for i in range(4)])
        assert torch.equal(quantizer(values), single)


def test_dynamic_linear_is_per_token() -> None:
    quantizer = ActivationQuantizer(DYNAMIC, channel_axis=-1)
    values = normal(1, 2, 16)
    values[0, 1] *= 1000
    assert sqnr_db(values[0, 0], quantizer(values)[0, 0]) > 35.0


def table_of(low: list[list[float]], high: list[list[float]]) -> ActivationQuantizer:
    qparams = choose_qparams(torch.tensor(low), torch.tensor(high), bits=8, symmetric=False)
    split = 3 if len(low) == 2 else None
    scheme = ActivationScheme(bits=8, timestep_buckets=len(low[0]))
    return ActivationQuantizer(scheme, channel_axis=1, split=split, table=qparams)


def test_buckets_follow_the_step() -> None:
    quantizer = table_of([[-1.0, -10.0]], [[1.0, 10.0]])
    values = normal(2, 4, 6) * 10
    for step in range(10):
        with step_context(StepContext(step=step, n_steps=10, t=999.0 - step)):
            limit = float(quantizer(values).abs().max())
        assert limit == pytest.approx(1.0 if step < 5 else 10.0, rel=0.02)
    with pytest.raises(CalibrationError, match="step_context"):
        quantizer(values)


@pytest.mark.parametrize(("n_steps", "n_buckets"), [(10, 10), (25, 10), (7, 3), (3, 10)])
def test_every_step_has_a_bucket(n_steps: int, n_buckets: int) -> None:
    steps = [StepContext(step=i, n_steps=n_steps, t=0.0) for i in range(n_steps)]
    buckets = [step.bucket(n_buckets) for step in steps]
    assert buckets == sorted(buckets)
    assert buckets[0] == 0
    assert buckets[-1] < n_buckets
    if n_steps >= n_buckets:
        assert set(buckets) == set(range(n_buckets))


def test_context_is_restored_after_an_error() -> None:
    with pytest.raises(LayerError), step_context(StepContext(step=1, n_steps=2, t=0.0)):
        raise LayerError
    assert current_step() is None


def test_split_with_equal_scales_equals_unsplit() -> None:
    split, whole = table_of([[-2.0], [-2.0]], [[3.0], [3.0]]), table_of([[-2.0]], [[3.0]])
    values = normal(2, 5, 4)
    assert torch.equal(split(values), whole(values))


def test_split_saves_the_quiet_half() -> None:
    values = torch.cat([normal(2, 3, 8, 8) * 10, normal(2, 4, 8, 8, seed=1)], dim=1)
    low = [[float(half.min())] for half in (values[:, :3], values[:, 3:])]
    high = [[float(half.max())] for half in (values[:, :3], values[:, 3:])]
    split, whole = table_of(low, high), table_of([min(low)], [max(high)])
    quiet = values[:, 3:]
    gain_db = sqnr_db(quiet, split(values)[:, 3:]) - sqnr_db(quiet, whole(values)[:, 3:])
    assert gain_db >= 10.0


def test_static_needs_a_table_of_its_shape() -> None:
    with pytest.raises(CalibrationError, match=r"\(1, 1\), there is none"):
        ActivationQuantizer(ActivationScheme(bits=8), channel_axis=1)


def test_input_is_quantized_before_the_layer() -> None:
    module, values = layer_and_input("linear")
    quantizer = ActivationQuantizer(DYNAMIC, channel_axis=-1)
    layer = quantized_layer(module, weight=None, input_quantizer=quantizer)
    low, high = values.amin(dim=-1, keepdim=True), values.amax(dim=-1, keepdim=True)
    qparams = choose_qparams(low, high, bits=8, symmetric=False)
    assert torch.equal(layer(values), module(fake_quantize(values, qparams)))


def test_attention_probabilities_are_unsigned() -> None:
    scheme = ActivationScheme(bits=8, mode=ActivationMode.DYNAMIC, unsigned=True)
    quantizer = ActivationQuantizer(scheme, channel_axis=-1)
    site = quantized_layer(AttentionProbabilities(), weight=None, input_quantizer=quantizer)
    probabilities = normal(2, 4, 6, 6).softmax(dim=-1)
    quantized = site(probabilities)
    assert not torch.equal(quantized, probabilities)
    assert (quantized >= 0).all()
    assert torch.allclose(quantized.amax(dim=-1), probabilities.amax(dim=-1))


def test_embedding_looks_up_what_its_table_says() -> None:
    module, indices = layer_and_input("embedding")
    for granularity in (Granularity.PER_CHANNEL, Granularity.PER_TENSOR):
        scheme = WeightScheme(bits=8, granularity=granularity, symmetric=False)
        quantized = weight_only(module, scheme)
        assert torch.equal(quantized(indices), functional.embedding(indices, quantized.weight))


def test_inventory_names_every_site_once() -> None:
    shared = nn.Linear(4, 4)
    tied = nn.Embedding(5, 4)
    tied_again = nn.Embedding(5, 4)
    tied_again.weight = tied.weight
    denoiser = nn.ModuleDict({"a": shared, "b": shared, "probs": AttentionProbabilities()})
    parts = {"denoiser": denoiser, "text_encoder": nn.ModuleList([tied, tied_again])}
    names = [info.name for info in inventory(parts)]
    assert names == ["denoiser.a", "denoiser.probs", "text_encoder.0"]
    set_layer_(parts, "denoiser.a", nn.Identity())
    set_layer_(parts, "text_encoder.0", nn.Identity())
    assert isinstance(get_layer(parts, "denoiser.b"), nn.Identity)
    assert isinstance(get_layer(parts, "text_encoder.1"), nn.Identity)
    # One weight, but biases of their own: no two names of one layer.
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert len(inventory({"denoiser": nn.ModuleList([first, second])})) == 2


class ScaledLinear(nn.Linear):
    def forward(self, values: Tensor) -> Tensor:
        return 2 * super().forward(values)


def test_layers_that_compute_otherwise_are_left_alone() -> None:
    assert inventory({"part": nn.Sequential(ScaledLinear(4, 4))}) == ()
    with pytest.raises(LayerError, match="ScaledLinear"):
        quantized_layer(ScaledLinear(4, 4), weight=None, input_quantizer=None)


def test_bad_names_and_splits_are_refused() -> None:
    parts = {"denoiser": nn.Sequential(nn.Conv2d(4, 4, 1))}
    with pytest.raises(LayerError, match=r"nearest is denoiser"):
        get_layer(parts, "denoiser.7")
    with pytest.raises(LayerError, match="split at 4"):
        inventory(parts, {"denoiser.0": 4})
    with pytest.raises(LayerError, match=r"'denoiser\.1' names no layer"):
        inventory(parts, {"denoiser.1": 2})
    (info,) = inventory(parts, {"denoiser.0": 1})
    assert info.columns == (1, 3)


def test_quantized_layers_show_their_geometry() -> None:
    module, _ = layer_and_input("conv2d")
    assert isinstance(weight_only(module, WeightScheme(bits=4)), QuantConv2d)
    assert "stride=(2, 2)" in repr(weight_only(module, WeightScheme(bits=4)))
