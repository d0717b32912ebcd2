"""Block reconstruction: the rounding of a block is learnt on what the block puts out."""

import copy
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.sampling import SamplingSettings
from ptq.algorithms import quantize_weight
from ptq.algorithms.adaround import adaround_codes
from ptq.algorithms.brecq import BlockData, BlockLayer, Call, brecq_codes
from ptq.calibration.blocks import Reconstruction, block_of
from ptq.calibration.purposes import spread
from ptq.calibration.replay import Replay
from ptq.calibration.rounding import rounded_weights
from ptq.calibration.states import StateRecorder, StateSet, all_states
from ptq.config import QuantConfig, parse_rules
from ptq.errors import Cancelled
from ptq.layers import get_layer
from ptq.plan import QuantPlan, resolve_plan
from ptq.quantize import quantize_
from ptq.scheme import WeightScheme
from ptq.weights import QuantizedWeight

SETTINGS = SamplingSettings(steps=3, guidance=2.5, seconds=0.64)
SCHEME = WeightScheme(bits=3)
LEARNT, BEFORE = "denoiser.down_blocks.* = w3 brecq", "denoiser.down_blocks.* = w3 gptq"


@pytest.fixture(scope="module")
def replay(tiny_adm: AudioLDM) -> Replay:
    pool = StateRecorder(adm=tiny_adm, settings=SETTINGS, seed=1).record(("a dog barks", "rain"))
    return Replay(adm=tiny_adm, states=StateSet.of(pool, spread(all_states(pool), 4, 1)))


@pytest.fixture(scope="module")
def learnt(replay: Replay) -> dict[str, QuantizedWeight]:
    return rounded_weights(replay, plan_of(replay.adm, LEARNT))


def plan_of(adm: AudioDiffusionModel, rules: str) -> QuantPlan:
    config = QuantConfig(name="test", rules=parse_rules(rules))
    return resolve_plan(config, layers_of(adm))


def two_layers() -> tuple[dict[str, BlockLayer], BlockData]:
    """A block of two linear layers with a bend between them, and what it was given and said."""
    generator = torch.Generator().manual_seed(0)
    first, second, mix = (
        torch.randn(shape, generator=generator) for shape in ((16, 12), (8, 16), (12, 12))
    )
    calls: list[Call] = [((torch.randn(40, 12, generator=generator) @ mix,), {}) for _ in range(4)]
    exact = {"first": first, "second": second}
    layers = {
        name: BlockLayer(rows=rows, start=quantize_weight(rows, SCHEME), scheme=SCHEME)
        for name, rows in exact.items()
    }
    return layers, BlockData(calls=calls, outputs=[run(exact, call) for call in calls])


def run(weights: Mapping[str, Tensor], call: Call) -> Tensor:
    output: Tensor = torch.relu(call[0][0] @ weights["first"].T) @ weights["second"].T
    return output


def test_layers_of_a_block_make_up_for_each_other() -> None:
    layers, data = two_layers()
    together = brecq_codes(layers, data, run, seed=0, iterations=400)
    nearest = {name: layer.start for name, layer in layers.items()}
    inputs = torch.cat([call[0][0] for call in data.calls])
    hidden = torch.relu(inputs @ layers["first"].rows.T)
    moments = {name: x.T @ x / len(x) for name, x in (("first", inputs), ("second", hidden))}
    alone = {
        name: adaround_codes(layer.rows, layer.start, SCHEME, moments[name])
        for name, layer in layers.items()
    }

    def error(found: Mapping[str, QuantizedWeight]) -> float:
        return data.error(run, {name: weight.dequantize() for name, weight in found.items()})

    assert error(together) < error(alone) < error(nearest)
    for name, layer in layers.items():
        moved = (together[name].codes.int() - layer.start.codes.int()).abs()
        assert int(moved.max()) == 1, "a code is one of the two neighbours"
        assert torch.equal(together[name].scale, layer.start.scale)


def test_the_seed_is_that_of_the_order_of_calls() -> None:
    layers, data = two_layers()
    first, again, other = (
        brecq_codes(layers, data, run, seed=seed, iterations=400) for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name].codes, again[name].codes) for name in layers)
    assert not all(torch.equal(first[name].codes, other[name].codes) for name in layers)


def test_a_block_that_cannot_gain_keeps_what_it_had() -> None:
    layers, data = two_layers()
    on_grid = {
        name: BlockLayer(rows=layer.start.dequantize(), start=layer.start, scheme=SCHEME)
        for name, layer in layers.items()
    }
    exact = {name: layer.rows for name, layer in on_grid.items()}
    same = BlockData(calls=data.calls, outputs=[run(exact, call) for call in data.calls])
    found = brecq_codes(on_grid, same, run, seed=0, iterations=5)
    assert all(torch.equal(found[name].codes, layer.start.codes) for name, layer in layers.items())


def test_a_block_that_training_makes_worse_keeps_what_it_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ptq.algorithms.brecq._RATE", 50.0)
    layers, data = two_layers()
    found = brecq_codes(layers, data, run, seed=0, iterations=1)
    assert all(torch.equal(found[name].codes, layer.start.codes) for name, layer in layers.items())


def test_blocks_are_found_by_name() -> None:
    assert block_of("denoiser.up_blocks.1.resnets.0.conv1") == "denoiser.up_blocks.1.resnets.0"
    inside = "denoiser.down_blocks.1.attentions.0.transformer_blocks.0.ff.net.2"
    assert block_of(inside) == "denoiser.down_blocks.1.attentions.0.transformer_blocks.0"
    for name in ("denoiser.conv_in", "denoiser.down_blocks.0.downsamplers.0.conv"):
        assert block_of(name) is None


def test_every_layer_of_a_plan_gets_codes_and_those_in_blocks_other_ones(
    replay: Replay, learnt: dict[str, QuantizedWeight]
) -> None:
    plan = plan_of(replay.adm, LEARNT)
    assert set(learnt) == {spec.name for spec in plan.quantized}
    alone = rounded_weights(replay, plan_of(replay.adm, BEFORE))
    differs = {name for name in learnt if not torch.equal(learnt[name].codes, alone[name].codes)}
    assert differs
    assert all(block_of(name) is not None for name in differs)


def errors_of_blocks(
    replay: Replay, plan: QuantPlan, weights: Mapping[str, QuantizedWeight]
) -> dict[str, float]:
    """Mean squared error of each quantized block, given what the exact one is given."""
    rough = copy.deepcopy(replay.adm)
    quantize_(rough.parts(), plan, weights=weights)
    found: dict[str, list[float]] = {
        name: [] for spec in plan.quantized if (name := block_of(spec.name)) is not None
    }

    def comparing(name: str) -> Callable[..., None]:
        block = get_layer(rough.parts(), name)

        def hook(
            _module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor
        ) -> None:
            difference = block(*args, **kwargs) - output
            found[name].append(float(difference.square().mean()))

        return hook

    blocks = {name: get_layer(replay.adm.parts(), name) for name in found}
    handles = [
        block.register_forward_hook(comparing(name), with_kwargs=True)
        for name, block in blocks.items()
    ]
    replay({"denoiser"})
    for handle in handles:
        handle.remove()
    return {name: sum(errors) / len(errors) for name, errors in found.items()}


def test_every_block_of_a_model_comes_closer_than_its_layers_alone(
    replay: Replay, learnt: dict[str, QuantizedWeight]
) -> None:
    alone = plan_of(replay.adm, BEFORE)
    before = errors_of_blocks(replay, alone, rounded_weights(replay, alone))
    after = errors_of_blocks(replay, plan_of(replay.adm, LEARNT), learnt)
    assert len(before) == 3
    ratios = {name: after[name] / error for name, error in before.items()}
    assert all(ratio < 0.9 for ratio in ratios.values()), ratios


def test_reconstruction_is_repeatable_and_leaves_the_model_alone(replay: Replay) -> None:
    adm = replay.adm
    assert isinstance(adm, AudioLDM)
    before = {name: value.clone() for name, value in adm.parts()["denoiser"].state_dict().items()}
    plan = plan_of(adm, "denoiser.down_blocks.1.resnets.0.* = w3 brecq r2\n* = keep")
    schemes = {s.name: s.scheme.weight for s in plan.quantized if s.scheme.weight is not None}
    infos = [info for info in layers_of(adm) if info.name in schemes]
    starts = rounded_weights(replay, plan_of(adm, "denoiser.* = w3 gptq r2 optional\n* = keep"))
    reconstruct = Reconstruction(replay=replay, stats={}, seed=0, iterations=20)
    first, second = (reconstruct(infos, schemes, starts) for _ in range(2))
    assert all(torch.equal(first[name].codes, second[name].codes) for name in schemes)
    after = adm.parts()["denoiser"].state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.grad is None for p in adm.parts()["denoiser"].parameters())


def test_reconstruction_can_be_stopped(replay: Replay) -> None:
    adm = replay.adm
    assert isinstance(adm, AudioLDM)
    asked = []

    def amid_the_training() -> bool:
        asked.append(1)
        return len(asked) > 12  # what GPTQ and the two replays ask, and a few steps

    stopped = Replay(adm=adm, states=replay.states, should_stop=amid_the_training)
    with pytest.raises(Cancelled, match=r"while denoiser\..* was reconstructed"):
        rounded_weights(stopped, plan_of(adm, "denoiser.down_blocks.1.resnets.* = w3 brecq"))
