"""Quantizing a whole model: all of it or nothing."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ptq.affine import sqnr_db
from ptq.algorithms import quantize_weight
from ptq.config import QuantConfig, parse_rules
from ptq.context import StepContext, step_context
from ptq.errors import CalibrationError, Cancelled, LayerError
from ptq.layers import inventory
from ptq.modules import QuantConv2d, QuantLinear
from ptq.observers import LayerObserver, LayerStats
from ptq.plan import QuantPlan, resolve_plan
from ptq.quantize import quantize_
from ptq.quantized_layer import QuantizedLayer
from ptq.scheme import WeightScheme

Parts = dict[str, nn.Module]
SPLITS = {"denoiser.2": 6}


def build() -> Parts:
    torch.manual_seed(0)
    denoiser = nn.Sequential(
        nn.Conv2d(4, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 4, 1), nn.Linear(8, 8)
    )
    return {"denoiser": denoiser, "vae": nn.Sequential(nn.ConvTranspose2d(4, 2, 2))}


def values() -> Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def run(parts: Parts) -> Tensor:
    with torch.no_grad():
        output: Tensor = parts["vae"](parts["denoiser"](values()))
    return output


def plan_of(text: str, splits: dict[str, int] | None = None) -> QuantPlan:
    config = QuantConfig(name="test", rules=parse_rules(text))
    return resolve_plan(config, inventory(build(), splits))


def observe(buckets: int = 1, splits: dict[str, int] | None = None) -> dict[str, LayerStats]:
    stats, hidden = {}, values()
    for index, layer in enumerate(build()["denoiser"].children()):
        if not isinstance(layer, nn.SiLU):
            name = f"denoiser.{index}"
            axis = -1 if isinstance(layer, nn.Linear) else 1
            observer = LayerObserver(
                channel_axis=axis, split=(splits or {}).get(name), buckets=buckets
            )
            for bucket in range(buckets):
                observer.update_(hidden, bucket)
            stats[name] = observer.result()
        hidden = layer(hidden)
    return stats


def is_untouched(parts: Parts) -> bool:
    layers = [module for part in parts.values() for module in part.modules()]
    fresh = build()
    return not any(isinstance(layer, QuantizedLayer) for layer in layers) and all(
        torch.equal(ours, theirs)
        for part in parts
        for ours, theirs in zip(parts[part].parameters(), fresh[part].parameters(), strict=True)
    )


def test_keep_changes_no_bit() -> None:
    parts = build()
    assert quantize_(parts, plan_of("* = keep")) is parts
    assert torch.equal(run(parts), run(build()))


def test_layers_are_replaced_in_place() -> None:
    parts = build()
    quantize_(parts, plan_of("denoiser.0 = w4\ndenoiser.3 = w8a8 dynamic"))
    assert isinstance(parts["denoiser"].get_submodule("0"), QuantConv2d)
    assert isinstance(parts["denoiser"].get_submodule("3"), QuantLinear)
    assert type(parts["denoiser"].get_submodule("2")) is nn.Conv2d
    assert not torch.equal(run(parts), run(build()))


def test_error_falls_with_bits() -> None:
    scores = []
    for bits in (3, 4, 6, 8):
        parts = build()
        quantize_(parts, plan_of(f"* = w{bits} channel sym"))
        scores.append(sqnr_db(run(build()), run(parts)))
    assert scores == sorted(scores)
    assert scores[-1] > 30.0


@pytest.mark.parametrize("words", ["a8", "a8 mse", "a8 p99.9", "a8 t2", "a8 t4 mse", "a8 dynamic"])
def test_activations_are_quantized(words: str) -> None:
    parts = build()
    stats = observe(buckets=4, splits=SPLITS)
    quantize_(parts, plan_of(f"denoiser.* = {words}", SPLITS), stats)
    with step_context(StepContext(step=1, n_steps=4, t=0.0)):
        score = sqnr_db(run(build()), run(parts))
    assert 20.0 < score < 60.0


def test_split_inputs_get_two_ranges() -> None:
    parts = build()
    quantize_(parts, plan_of("denoiser.2 = w8 tensor a8", SPLITS), observe(splits=SPLITS))
    layer = parts["denoiser"].get_submodule("2")
    assert isinstance(layer, QuantConv2d)
    assert layer.input_quantizer is not None
    assert layer.input_quantizer.scale.shape == (2, 1)
    assert layer.get_buffer("scale").shape == (1, 2)


@pytest.mark.parametrize(
    ("text", "stats", "message"),
    [
        ("denoiser.0 = w4\ndenoiser.3 = w4a8", {}, r"denoiser\.3 has static.*no statistics"),
        ("* = w4\n", None, "missing or already"),
        ("denoiser.0 = w4 gptq", {}, r"denoiser\.0 is to be rounded by gptq.*rounded_weights"),
        ("denoiser.0 = w4a8 t3", observe(buckets=2), "2 timestep buckets"),
        ("denoiser.2 = w4a8", observe(splits=SPLITS), "observed in 2 pieces"),
    ],
)
def test_errors_leave_the_model_untouched(
    text: str, stats: dict[str, LayerStats] | None, message: str
) -> None:
    parts, plan = build(), plan_of(text)
    if stats is None:
        plan = replace(plan, layers=(*plan.layers, replace(plan.layers[0], name="denoiser.9")))
    with pytest.raises((CalibrationError, LayerError), match=message):
        quantize_(parts, plan, stats)
    assert is_untouched(parts)


def test_a_group_that_does_not_fit_is_refused() -> None:
    plan = plan_of("denoiser.0 = w4 g36")
    parts = build()
    parts["denoiser"].set_submodule("0", nn.Conv2d(4, 16, 1))
    with pytest.raises(LayerError, match="groups of 36"):
        quantize_(parts, plan)


def test_weights_that_are_not_finite_leave_the_model_untouched() -> None:
    parts = build()
    with torch.no_grad():
        parts["vae"].get_parameter("0.weight")[0, 0] = torch.nan
    with pytest.raises(LayerError, match="not finite"):
        quantize_(parts, plan_of("* = w8"))
    assert not any(isinstance(m, QuantizedLayer) for m in parts["denoiser"].modules())


def test_stopping_leaves_the_model_untouched() -> None:
    parts, answers = build(), iter([False, True])
    with pytest.raises(Cancelled, match=r"denoiser\.2"):
        quantize_(parts, plan_of("* = w8"), should_stop=lambda: next(answers))
    assert is_untouched(parts)


def test_quantizing_twice_is_refused() -> None:
    parts, plan = build(), plan_of("* = w8")
    quantize_(parts, plan)
    with pytest.raises(LayerError, match="already"):
        quantize_(parts, plan)


def test_codes_of_another_method_are_used() -> None:
    plan = plan_of("denoiser.3 = w8")
    weight = build()["denoiser"].get_parameter("3.weight").detach() * 2
    parts = build()
    quantize_(parts, plan, weights={"denoiser.3": quantize_weight(weight, WeightScheme(bits=8))})
    layer = parts["denoiser"].get_submodule("3")
    assert isinstance(layer, QuantLinear)
    assert torch.allclose(layer.weight, weight, atol=0.01)


def test_a_quantized_model_can_be_copied() -> None:
    parts = build()
    quantize_(parts, plan_of("* = w4a8 dynamic"))
    assert torch.equal(run(copy.deepcopy(parts)), run(parts))
