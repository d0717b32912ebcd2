"""GPTQ: outputs gain what single weights lose."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import layers_of
from ptq.adms.sampling import SamplingSettings
from ptq.algorithms import quantize_weight
from ptq.algorithms.gptq import gptq_codes
from ptq.calibration.replay import Replay
from ptq.calibration.rounding import rounded_weights, rounds_by_data
from ptq.calibration.states import StateRecorder, StateSet
from ptq.checkpoint import packed_plan
from ptq.config import QuantConfig, parse_rules
from ptq.errors import Cancelled
from ptq.layers import get_layer
from ptq.plan import QuantPlan, resolve_plan
from ptq.quantize import weight_rows
from ptq.scheme import Granularity, RangeSearch, Rounding, WeightScheme
from ptq.study import run_folder_of, run_study
from ptq.study_config import StudyConfig
from ptq.weights import QuantizedWeight, output_error
from tests.calibrations import drawn

COLUMNS = 192
SCHEMES = [
    WeightScheme(bits=4),
    WeightScheme(bits=3, symmetric=False, range_search=RangeSearch.MSE),
    WeightScheme(bits=4, granularity=Granularity.PER_GROUP, group_size=64, symmetric=False),
    WeightScheme(bits=8, granularity=Granularity.PER_TENSOR),
]


def weight_and_inputs(seed: int = 0, rank: int = 24) -> tuple[Tensor, Tensor]:
    """A weight, and inputs whose channels depend on one another, as those of a layer do."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn((32, COLUMNS), generator=generator)
    mixed = torch.randn((2048, rank), generator=generator)
    inputs = mixed @ torch.randn((rank, COLUMNS), generator=generator)
    return weight, inputs + 0.1 * torch.randn(inputs.shape, generator=generator)


def moment_of(inputs: Tensor) -> Tensor:
    return inputs.T @ inputs / len(inputs)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_it_loses_in_the_weight_and_wins_in_the_output(scheme: WeightScheme) -> None:
    weight, inputs = weight_and_inputs()
    nearest = quantize_weight(weight, scheme)
    found = gptq_codes(weight, nearest, scheme, moment_of(inputs))

    def error(estimate: Tensor) -> tuple[float, float]:
        of_weight = (weight - estimate).square().sum()
        return float(of_weight), float((inputs @ (weight - estimate).T).square().sum())

    own, other = error(found.dequantize()), error(nearest.dequantize())
    assert own[0] > other[0], "nearest has the least weight error there is"
    assert own[1] < 0.8 * other[1]
    assert torch.equal(found.scale, nearest.scale)
    assert found.codes.dtype is nearest.codes.dtype


@pytest.mark.usefixtures("unguarded")
def test_independent_inputs_are_rounded_to_nearest() -> None:
    weight, _ = weight_and_inputs()
    nearest = quantize_weight(weight, SCHEMES[0])
    energies = torch.linspace(0.1, 3.0, COLUMNS)
    assert torch.equal(
        gptq_codes(weight, nearest, SCHEMES[0], torch.diag(energies)).codes, nearest.codes
    )


def test_codes_are_taken_over_where_the_output_gains_by_them() -> None:
    rows, moment = torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.eye(2)
    start = QuantizedWeight(
        codes=torch.tensor([[1, 3], [1, 2]], dtype=torch.int8),
        scale=torch.ones((1, 1), dtype=torch.float16),
        zero_point=None,
        blocks=(2,),
    )
    found = start.improved(torch.tensor([[1.0, 2.0], [1.0, 3.0]]), rows, moment)
    assert found.codes.tolist() == [[1, 2], [1, 2]]
    assert found.codes.dtype is torch.int8


def test_no_output_gets_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, inputs = weight_and_inputs()
    nearest = quantize_weight(weight, SCHEMES[0])
    monkeypatch.setattr(
        "ptq.algorithms.gptq._round_columns", lambda values, *_: torch.zeros_like(values)
    )
    found = gptq_codes(weight, nearest, SCHEMES[0], moment_of(inputs))
    assert torch.equal(found.codes, nearest.codes)


@pytest.mark.usefixtures("unguarded")
def test_codes_are_those_of_the_optimal_brain_surgeon() -> None:
    """Column by column with an explicit inverse, which loses the column that was rounded."""
    weight, inputs = weight_and_inputs(rank=180)
    moment, nearest = moment_of(inputs), quantize_weight(weight, SCHEMES[1])
    found = gptq_codes(weight, nearest, SCHEMES[1], moment)
    open_weight, exact = weight.double().clone(), moment.double()
    inverse = (exact + 0.01 * exact.diagonal().mean() * torch.eye(COLUMNS)).inverse()
    scale, zero_point = (grid.double() for grid in nearest.grid())
    codes = torch.empty_like(open_weight)
    for column in moment.diagonal().argsort(descending=True).tolist():
        value, step, zero = open_weight[:, column], scale[:, column], zero_point[:, column]
        codes[:, column] = (value / step).round().add(zero).clamp(0, 7)
        error = value - (codes[:, column] - zero) * step
        pivot = inverse[column] / inverse[column, column]
        open_weight -= error[:, None] * pivot
        inverse = inverse - inverse[:, column, None] * pivot
        inverse[column, column] = 1.0  # it is rounded: nothing reaches it any more
    same = (codes == found.codes).double().mean()
    assert same > 0.99, "single floats round a few codes to the other side"


@pytest.mark.usefixtures("unguarded")
def test_it_does_not_matter_how_loud_the_inputs_are() -> None:
    weight, inputs = weight_and_inputs()
    inputs[:, ::13] = 0.0
    nearest = quantize_weight(weight, SCHEMES[0])
    moments = (moment_of(inputs), moment_of(inputs / 256))
    loud, quiet = (gptq_codes(weight, nearest, SCHEMES[0], moment).codes for moment in moments)
    assert torch.equal(loud, quiet)


def test_inputs_that_are_always_zero_keep_their_codes_and_the_others_still_gain() -> None:
    weight, inputs = weight_and_inputs(seed=1, rank=180)
    inputs[:, 5:20] = 0.0
    moment = moment_of(inputs)
    nearest = quantize_weight(weight, SCHEMES[0])
    found = gptq_codes(weight, nearest, SCHEMES[0], moment)
    before, after = (output_error(weight, w.dequantize(), moment) for w in (nearest, found))
    assert after.sum() < 0.6 * before.sum()
    assert torch.equal(found.codes[:, 5:20], nearest.codes[:, 5:20])
    assert not torch.equal(found.codes, nearest.codes)


@pytest.mark.usefixtures("unguarded")
def test_a_singular_moment_of_any_size_is_survived() -> None:
    weight, _ = weight_and_inputs()
    nearest = quantize_weight(weight, SCHEMES[0])
    one = torch.full((COLUMNS, COLUMNS), 1e6)
    found = gptq_codes(weight, nearest, SCHEMES[0], one)
    before, after = (output_error(weight, w.dequantize(), one) for w in (nearest, found))
    assert after.sum() < 0.1 * before.sum()
    broken = torch.full((COLUMNS, COLUMNS), -1.0)
    assert torch.equal(gptq_codes(weight, nearest, SCHEMES[0], broken).codes, nearest.codes)


@pytest.fixture(scope="module")
def replay(tiny_adm: AudioLDM) -> Replay:
    settings = SamplingSettings(steps=3, guidance=2.5, seconds=0.64)
    pool = StateRecorder(adm=tiny_adm, settings=settings, seed=1).record(("a dog barks", "rain"))
    chosen = np.array([[0, 0], [1, 1], [0, 2]])
    return Replay(adm=tiny_adm, states=StateSet.of(pool, chosen))


def plan_of(adm: AudioLDM, text: str) -> QuantPlan:
    config = QuantConfig(name="x", rules=parse_rules(text))
    return resolve_plan(config, layers_of(adm))


def test_every_layer_of_a_plan_is_rounded_whatever_the_memory(
    tiny_adm: AudioLDM, replay: Replay
) -> None:
    text = "denoiser.mid*conv1 = w3 adaround\ndenoiser.*attn* = w4 gptq\ndenoiser.*conv1 = w3 gptq"
    plan = plan_of(tiny_adm, f"{text}\n* = w8")
    whole = rounded_weights(replay, plan)
    assert set(whole) == {spec.name for spec in plan.quantized if rounds_by_data(spec)}
    assert {name.rpartition(".")[2] for name in whole} >= {"conv1", "to_q", "to_k"}
    pieces = rounded_weights(replay, plan, most_bytes=1)
    infos = {info.name: info for info in layers_of(tiny_adm)}
    changed = 0
    for spec in plan.quantized:
        if spec.name not in whole or spec.scheme.weight is None:
            continue
        assert torch.equal(whole[spec.name].codes, pieces[spec.name].codes)
        rows = weight_rows(get_layer(tiny_adm.parts(), spec.name), infos[spec.name])
        nearest = quantize_weight(rows, spec.scheme.weight, infos[spec.name].columns)
        changed += int((nearest.codes != whole[spec.name].codes).any())
    assert changed > len(whole) / 2


def test_rounding_stops_when_told_to(tiny_adm: AudioLDM, replay: Replay) -> None:
    for calls, where, rounding in (
        (0, "step 1 of 3", "gptq"),
        (3, "before .*attn1.to_q was rounded", "gptq"),
        (9, "while .*attn1.to_q was rounded", "adaround"),
    ):
        plan = plan_of(tiny_adm, f"denoiser.*attn* = w4 {rounding}")
        asked: list[None] = []

        def enough(calls: int = calls, asked: list[None] = asked) -> bool:
            asked.append(None)
            return len(asked) > calls

        stopped = Replay(adm=tiny_adm, states=replay.states, should_stop=enough)
        with pytest.raises(Cancelled, match=where):
            rounded_weights(stopped, plan)


def test_layers_that_see_no_data_are_rounded_to_nearest_in_ranges_of_hqq(
    tiny_adm: AudioLDM,
) -> None:
    plan = plan_of(tiny_adm, "* = w4 gptq")
    schemes = [(spec.name, spec.scheme.weight) for spec in plan.quantized]
    found = {name: (w.rounding, w.range_search) for name, w in schemes if w is not None}
    assert found["denoiser.conv_out"] == (Rounding.GPTQ, RangeSearch.MIN_MAX)
    for blind in ("vae.encoder.conv_in", "text_encoder.text_model.embeddings.word_embeddings"):
        assert found[blind] == (Rounding.NEAREST, RangeSearch.HQQ)
    searched = plan_of(tiny_adm, "* = w4 mse gptq").layers
    assert {s.scheme.weight.range_search for s in searched if s.scheme.weight} == {RangeSearch.MSE}


def test_a_study_rounds_by_data_and_resumes(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    rules = parse_rules("denoiser.*attn* = w3 gptq\n* = w8")
    config = StudyConfig(
        adm=tiny_adm.id,
        quant=QuantConfig(name="gptq", rules=rules),
        prompts=("a dog barks",),
        steps=3,
        seconds=0.64,
        calibration=drawn(prompts=2, states=4),
    )
    report = run_study(config, tiny_adm, runs=tmp_path, ear="no ear")
    folder = run_folder_of(config, tiny_adm, tmp_path).path
    plan = packed_plan(folder / "packed")
    assert any(rounds_by_data(spec) for spec in plan.quantized)
    assert report.calibration is not None
    for name in ("report.json", "packed/index.json"):
        (folder / name).unlink()
    assert run_study(config, tiny_adm, runs=tmp_path, ear="no ear").paired == report.paired
    for name in ("report.json", "packed/index.json"):
        (folder / name).unlink()
    (folder / "calibration/reconstruction-states.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"delete it, and its run's report\.json"):
        run_study(config, tiny_adm, runs=tmp_path, ear="no ear")
    (folder / "calibration/reconstruction-states.safetensors").unlink()
    assert run_study(config, tiny_adm, runs=tmp_path, ear="no ear").paired == report.paired
