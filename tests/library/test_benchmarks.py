"""Benchmarks that run for hours at least begin: their plans fit, and their conditions differ."""

from benchmarks.claim import methods
from benchmarks.cost import CASES
from benchmarks.robustness import CALIBRATED, conditions
from ptq.adms.audioldm import AudioLDM
from ptq.layers import inventory
from ptq.plan import resolve_plan
from ptq.prompts.slices import Slice


def test_every_method_of_the_claim_fits_a_model(tiny_adm: AudioLDM) -> None:
    layers = inventory(tiny_adm.parts(), tiny_adm.splits())
    plans = {name: resolve_plan(config, layers) for name, config in methods().items()}
    assert not plans["fp"].quantized
    assert len({plan.sha256 for plan in plans.values()}) == len(plans)
    words = {name: [s.scheme.weight for s in plan.quantized] for name, plan in plans.items()}
    rounding = {
        name: {str(w.rounding) for w in found if w is not None} for name, found in words.items()
    }
    assert "adaround" in rounding["Q-Diffusion style"]
    assert "gptq" in rounding["PTQ4ADM"]
    assert "brecq" in rounding["PTQ4ADM + reconstruction"]


def test_robustness_leaves_the_calibrated_condition_one_way_at_a_time() -> None:
    found = {condition.name: condition for condition in conditions(3, "mini-audioldm")}
    usual = found.pop(CALIBRATED)
    assert {kind.value for kind in Slice} <= set(found)
    for condition in found.values():
        changed = (condition.prompts != usual.prompts) + (condition.settings != usual.settings)
        assert changed == (2 if condition.name.endswith(" s") else 1), condition.name


def test_costs_are_measured_one_change_at_a_time() -> None:
    assert len({case.title for case in CASES}) == len(CASES)
