"""Groups along the trajectory, whether errors add up, and the smallest plan that passes."""

import copy

import numpy as np
import pytest

from ptq.ablation import GroupAblation, group_of, rescaled
from ptq.additivity import Additivity, AdditivityCheck
from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import layers_of
from ptq.adms.sampling import NoiseTape, Sampler, SamplingSettings
from ptq.affine import relative_error
from ptq.allocate import Allocation, Allocator
from ptq.calibration.purposes import spread
from ptq.calibration.replay import Replay
from ptq.calibration.states import StateRecorder, StateSet, all_states
from ptq.config import QuantConfig, parse_rules
from ptq.errors import Cancelled
from ptq.plan import QuantPlan, resolve_plan
from ptq.quantize import Prepared, quantize_
from ptq.sensitivities import Sensitivities
from ptq.sensitivity import SensitivityMeter
from ptq.smallest import smallest_plan

SETTINGS = SamplingSettings(steps=3, guidance=2.5, seconds=0.64)
BITS = ("w2 channel", "w4 channel", "w8 channel")


def plan_of(adm: AudioLDM, rules: str) -> QuantPlan:
    config = QuantConfig(name="test", rules=parse_rules(rules))
    return resolve_plan(config, layers_of(adm))


@pytest.fixture(scope="module")
def replay(tiny_adm: AudioLDM) -> Replay:
    pool = StateRecorder(adm=tiny_adm, settings=SETTINGS, seed=1).record(("a dog barks", "rain"))
    return Replay(adm=tiny_adm, states=StateSet.of(pool, spread(all_states(pool), 4, 1)))


@pytest.fixture(scope="module")
def table(tiny_adm: AudioLDM, replay: Replay) -> Sensitivities:
    base = plan_of(tiny_adm, "denoiser.mid_block.* = w8\n* = keep")
    meter = SensitivityMeter(replay=replay, fitting=replay, stats={}, base=base, calibration="c")
    return meter.prediction(BITS)


@pytest.mark.parametrize(
    ("layer", "group"),
    [
        ("denoiser.conv_in", "ends"),
        ("denoiser.time_embedding.linear_1", "ends"),
        ("denoiser.down_blocks.0.resnets.0.conv1", "down_blocks.0 conv"),
        ("denoiser.down_blocks.0.resnets.0.time_emb_proj", "down_blocks.0 time"),
        ("denoiser.up_blocks.3.resnets.1.conv_shortcut", "up_blocks.3 shortcut"),
        ("denoiser.down_blocks.2.downsamplers.0.conv", "down_blocks.2 sampler"),
        ("denoiser.mid_block.attentions.0.proj_in", "mid_block projection"),
        ("denoiser.mid_block.attentions.0.transformer_blocks.0.attn2.to_q", "mid_block attn2"),
        ("denoiser.mid_block.attentions.0.transformer_blocks.0.ff.net.2", "mid_block ff"),
    ],
)
def test_groups_are_a_blocks_layers_of_one_kind(layer: str, group: str) -> None:
    assert group_of(layer) == group


def test_each_group_is_quantized_alone(tiny_adm: AudioLDM) -> None:
    plan = plan_of(tiny_adm, "denoiser.mid_block.* = w2 channel\nvae.* = w2\n* = keep")
    told = []
    prompts = ("a dog barks", "rain")
    ablation = GroupAblation(adm=tiny_adm, settings=SETTINGS, prompts=prompts, prepared=Prepared())
    found = ablation(plan, on_group=lambda done, total: told.append((done, total)))
    expected = {group_of(s.name) for s in plan.quantized if s.name.startswith("denoiser.")}
    assert set(found) == expected
    assert told[-1] == (len(expected), len(expected))
    assert all(0 < error < 1 for error in found.values())
    gentle = plan_of(tiny_adm, "denoiser.mid_block.* = w8\n* = keep")
    again = ablation(gentle)
    assert all(again[group] < found[group] for group in expected)

    other = copy.deepcopy(tiny_adm)
    alone = "denoiser.mid_block.*.ff.* = w2 channel\n* = keep"
    quantize_(other.parts(), plan_of(tiny_adm, alone), {})
    exact, close = (
        Sampler(adm=adm, settings=SETTINGS)(adm.encode(prompts), NoiseTape(0), range(2))
        for adm in (tiny_adm, other)
    )
    assert found["mid_block ff"] == pytest.approx(relative_error(exact, close))


def test_an_ablation_can_be_stopped(tiny_adm: AudioLDM) -> None:
    ablation = GroupAblation(
        adm=tiny_adm,
        settings=SETTINGS,
        prompts=("rain",),
        prepared=Prepared(),
        should_stop=lambda: True,
    )
    with pytest.raises(Cancelled):
        ablation(plan_of(tiny_adm, "denoiser.mid_block.* = w4\n* = keep"))


def test_scaled_errors_add_up_to_what_a_group_did(table: Sensitivities) -> None:
    words = dict.fromkeys(table.errors, BITS[0])
    groups = {group_of(name): 0.5 for name in table.errors}
    scaled = rescaled(table, words, groups)
    sums: dict[str, float] = {}
    for name, row in scaled.errors.items():
        sums[group_of(name)] = sums.get(group_of(name), 0.0) + row[BITS[0]]
        ratio = [row[w] / table.errors[name][w] for w in BITS]
        assert ratio == pytest.approx([ratio[0]] * 3)
    assert sums == pytest.approx(groups)
    assert scaled.measure == "prediction, scaled by groups"
    assert rescaled(table, words, {}).errors == table.errors


def test_errors_of_single_layers_foretell_the_whole(
    tiny_adm: AudioLDM, replay: Replay, table: Sensitivities
) -> None:
    base = plan_of(tiny_adm, "* = keep")
    front = Allocator(base, layers_of(tiny_adm), table).front(5)
    check = AdditivityCheck(replay=replay, fitting=replay, stats={})
    found = check(front)
    assert len(found.measured) == len(front)
    assert found.rank_correlation is not None
    assert found.rank_correlation > 0.8
    assert found.correlation is not None
    assert found.ratio is not None
    assert 0.2 < found.ratio < 5.0


def test_too_few_plans_tell_nothing() -> None:
    two = Additivity(predicted=(1.0, 2.0), measured=(1.0, 2.0))
    same = Additivity(predicted=(1.0, 1.0, 1.0), measured=(1.0, 2.0, 3.0))
    for found in (two, same):
        assert found.correlation is None
        assert found.rank_correlation is None
    assert two.ratio == 1.0
    silent = Additivity(predicted=(0.0, 1.0, 2.0), measured=(0.0, 1.0, 4.0))
    assert silent.correlation is None
    assert silent.ratio == 1.5
    assert Additivity(predicted=(0.0,), measured=(0.0,)).ratio is None


class Boundary:
    """Passes what is large enough, and remembers what it was asked about."""

    def __init__(self, size: float) -> None:
        self.size, self.plans = size, list[str]()

    def __call__(self, found: Allocation) -> bool:
        self.plans.append(found.plan.sha256)
        return found.size_bytes >= self.size


def test_bisection_finds_the_boundary(tiny_adm: AudioLDM, table: Sensitivities) -> None:
    layers = layers_of(tiny_adm)
    allocator = Allocator(plan_of(tiny_adm, "* = keep"), layers, table)
    least, most = allocator.limits()
    for boundary in np.linspace(least, most, 5)[1:-1]:
        asked = Boundary(boundary)
        best, probes = smallest_plan(allocator, asked, rounds=7)
        assert best is not None
        assert best.size_bytes >= boundary
        assert best.size_bytes - boundary < 0.1 * (most - least)
        assert len(asked.plans) == len(set(asked.plans)) <= 8
        assert {probe.passed for probe in probes} == {True, False}


def test_where_nothing_passes_nothing_is_returned(tiny_adm: AudioLDM, table: Sensitivities) -> None:
    layers = layers_of(tiny_adm)
    allocator = Allocator(plan_of(tiny_adm, "* = keep"), layers, table)
    best, probes = smallest_plan(allocator, lambda _: False, rounds=3)
    assert best is None
    assert len(probes) == 1
