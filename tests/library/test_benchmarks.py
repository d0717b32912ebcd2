"""Benchmarks that run for hours at least begin: their plans fit, and their conditions differ."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.activations import KEPT, ActivationBench
from benchmarks.activations import cases as activation_cases
from benchmarks.calibration import cells_of
from benchmarks.calibration_cells import CALIBRATED as BY_DATA
from benchmarks.calibration_cells import PLANS
from benchmarks.calibration_corners import CORNERS
from benchmarks.claim import OURS, REBUILT, methods
from benchmarks.cost import CASES
from benchmarks.ladders import METHODS, climbing, ladder, lowest
from benchmarks.lowest import holm, p_value
from benchmarks.numerics import NudgedTape
from benchmarks.presets import newly_silent
from benchmarks.robustness import CALIBRATED, conditions
from benchmarks.stage_peaks import StagePeaks
from benchmarks.voice_checks import cuts_found, defects, is_cut
from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import layers_of
from ptq.adms.sampling import NoiseTape
from ptq.affine import sqnr_db
from ptq.audio import AudioClip
from ptq.config import QuantConfig, parse_rules
from ptq.layer_spec import DENOISER
from ptq.plan import resolve_plan
from ptq.presets import preset
from ptq.prompts.slices import Slice
from ptq.study_events import Stage, StudyEvent


def test_every_method_of_the_claim_fits_a_model(tiny_adm: AudioLDM) -> None:
    layers = layers_of(tiny_adm)
    ours = QuantConfig(name="ours", rules=parse_rules("denoiser.*conv1 = w3 gptq a8\n* = keep"))
    plans = {name: resolve_plan(config, layers) for name, config in methods(ours).items()}
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


def test_costs_change_one_thing_at_a_time_and_then_the_calibration_as_a_whole() -> None:
    first = asdict(CASES[0])
    changed = [
        {key for key, value in asdict(case).items() if value != first[key]} for case in CASES
    ]
    assert changed == [
        *(set(), {"prompts"}, {"prompts"}, {"steps"}, {"steps"}, {"rules"}, {"preset"}),
        *({"calibration"}, {"calibration", "covering"}),
        {"calibration", "covering", "calibration_prompts", "calibration_states"},
    ]
    assert len({case.title for case in CASES}) == len(CASES)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux counts it")
def test_each_stage_has_a_peak_of_its_own() -> None:
    peaks = StagePeaks()
    for stage, megabytes in ((Stage.REFERENCE, 1), (Stage.CALIBRATE, 300), (Stage.QUANTIZE, 1)):
        peaks(StudyEvent(stage=stage, done=0, total=1))
        held = np.ones(megabytes << 20, dtype=np.int8)
        del held
        peaks(StudyEvent(stage=stage, done=1, total=1))
    found = peaks.finish()
    assert set(found) == {"reference", "calibrate", "quantize"}
    for other in ("reference", "quantize"):
        assert found["calibrate"] > found[other] + (200 << 20)


def test_calibrations_differ_from_their_base_one_way_or_the_other(tiny_adm: AudioLDM) -> None:
    cells = cells_of(range(1, 4), (32, 64))
    assert len(set(cells)) == len(cells) == 3 * 2 * 4 * 2 * len(PLANS)
    assert len(set(CORNERS)) == 4
    assert {cell.plan for cell in CORNERS} == {BY_DATA}
    layers = layers_of(tiny_adm)
    for name, rules in PLANS.items():
        plan = resolve_plan(QuantConfig(name=name, rules=parse_rules(rules)), layers)
        rounding = {
            spec.scheme.weight.rounding.needs_data
            for spec in plan.quantized
            if spec.scheme.weight is not None
        }
        assert rounding == {name == BY_DATA}


def test_a_ladder_goes_down_and_its_last_passing_rung_is_found(tiny_adm: AudioLDM) -> None:
    layers = layers_of(tiny_adm)
    for method in set(METHODS) - {OURS, REBUILT}:  # for which sensitivities must ship
        rungs = ladder(method, tiny_adm)
        bits = [resolve_plan(rung, layers).weight_bits_mean(layers, DENOISER) for rung in rungs]
        assert bits == sorted(bits, reverse=True)
    for boundary, rung in enumerate(rungs):
        passing = rungs[: boundary + 1]
        assert lowest(rungs, passing.__contains__) == rung
    assert lowest(rungs, lambda _: False) is None
    assert climbing(rungs, rungs[3], 2) == (rungs[3], rungs[2], rungs[1])
    assert climbing(rungs, rungs[1], 2) == (rungs[1], rungs[0]), "there is none above"
    assert climbing(rungs, None, 2) == (None,)


def test_activations_change_where_the_preset_quantizes_them_and_weights_never(
    tiny_adm: AudioLDM,
) -> None:
    config, layers = preset("ptq4adm"), layers_of(tiny_adm)
    bench = ActivationBench(adm=tiny_adm, pairs=1, config=config)
    usual = resolve_plan(config, layers)
    for words, _ in activation_cases():
        plan = resolve_plan(bench.with_activations(words), layers)
        for before, after in zip(usual.layers, plan.layers, strict=True):
            assert after.scheme.weight == before.scheme.weight
            quantized = before.scheme.activation is not None and words != KEPT
            assert (after.scheme.activation is not None) == quantized
    assert len(set(activation_cases())) == len(activation_cases())


def test_a_nudge_is_what_float32_hardly_holds() -> None:
    noise, nudged = (tape(3)((0, 1), -1, (4, 8, 8)) for tape in (NoiseTape, NudgedTape))
    assert 110 < sqnr_db(noise, nudged) < 130


def test_a_clip_that_breaks_off_is_cut_and_one_that_dies_away_is_not() -> None:
    seconds = np.arange(2 * 16_000) / 16_000
    tone = (0.5 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)
    knock = (tone * np.exp(-30 * seconds)).astype(np.float32)  # 26 dB in a tenth of a second
    broken, paused = tone.copy(), tone.copy()
    broken[16_000:] = 0.0
    paused[16_000:24_000] = 0.0
    beeps = np.where(np.floor(8 * seconds) % 2 == 0, tone, 0.0).astype(np.float32)
    beeps[24_000:] = 0.0
    clips = (tone, knock, broken, paused, beeps)
    assert [is_cut(clip) for clip in clips] == [False, False, True, False, False]
    assert cuts_found([tone, 0 * tone]) == 0.5
    assert defects([tone, broken, 0 * tone]) == 2


def test_verdicts_are_corrected_for_their_number() -> None:
    # Holm's own rule by hand: 3 x 0.01, then 2 x 0.03, and never less than the one before.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    row = {"n": 512, "increase_pct": 1.0, "ci95_pct": (-1.0, 3.0)}
    assert p_value(row) == pytest.approx(0.0, abs=1e-4)
    assert p_value({**row, "increase_pct": 5.0, "ci95_pct": (3.0, 7.0)}) == pytest.approx(0.5)


def test_clips_that_fell_silent_are_told_with_their_levels() -> None:
    steps = ((0.1, 0.1), (0.001_2, 0.000_9), (0.000_5, 0.0))  # the last was silent before
    banks = [
        [AudioClip(samples=np.full(100, level, np.float32), sample_rate_hz=16_000) for level in row]
        for row in zip(*steps, (0.1, 0.0), strict=True)
    ]
    found = newly_silent(*banks)
    assert found == [pytest.approx([-58.4, -60.9], abs=0.1), pytest.approx([-20.0, -200.0])]
