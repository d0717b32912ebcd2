"""Calibration strategies: what defines each, and that the aware one reaches what it should."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import kurtosis

from ptq.adms.audioldm import AudioLDM
from ptq.adms.sampling import SamplingSettings
from ptq.calibration.aware import aware_states
from ptq.calibration.coverage import (
    Outliers,
    coverage_figures,
    range_coverage,
    rows_of,
)
from ptq.calibration.density import density_quotas
from ptq.calibration.replay import Replay
from ptq.calibration.signatures import Signatures, measure_signatures
from ptq.calibration.states import StatePool, StateRecorder, StateSet
from ptq.calibration.strategies import STRATEGIES, AwareStrategy, CalibrationStrategy, Candidates
from ptq.config import QuantConfig, parse_rules
from ptq.errors import CalibrationError, ConfigError
from ptq.layers import get_layer
from ptq.prompts.suites import Suite, draw_suite
from ptq.study import run_folder_of, run_study
from ptq.study_config import STRATEGY_NAMES, CalibrationSettings, StudyConfig
from tests.calibrations import drawn, made_up

STEPS, PROMPTS = 5, 6


@pytest.fixture(scope="module")
def pool(tiny_adm: AudioLDM) -> StatePool:
    settings = SamplingSettings(steps=STEPS, guidance=2.5, seconds=0.64)
    prompts = [prompt.text for prompt in draw_suite(Suite.CALIBRATION, PROMPTS, seed=3)]
    return StateRecorder(adm=tiny_adm, settings=settings, seed=1).record(prompts)


@pytest.fixture(scope="module")
def everything() -> NDArray[np.int64]:
    rows, steps = np.indices((PROMPTS, STEPS))
    return np.stack([rows.ravel(), steps.ravel()], axis=1)


@pytest.fixture(scope="module")
def signatures(tiny_adm: AudioLDM, pool: StatePool, everything: NDArray[np.int64]) -> Signatures:
    return measure_signatures(Replay(adm=tiny_adm, states=StateSet.of(pool, everything)))


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=lambda s: s.id)
def test_every_strategy_chooses_so_many_states_and_the_same_again(
    strategy: CalibrationStrategy,
    pool: StatePool,
    everything: NDArray[np.int64],
    signatures: Signatures,
) -> None:
    asked: list[int] = []

    def measure(states: NDArray[np.int64]) -> Signatures:
        asked.append(len(states))
        return signatures

    candidates = Candidates(pool=pool, measure=measure)
    assert (candidates.all() == everything).all()
    for count in (1, 7, 99):
        chosen = strategy.states(candidates, count, 0)
        assert chosen.dtype == np.int64
        assert chosen.shape == (min(count, PROMPTS * STEPS), 2)
        assert len({tuple(pair) for pair in chosen.tolist()}) == len(chosen)
        assert (chosen >= 0).all()
        assert (chosen.max(axis=0) < [PROMPTS, STEPS]).all()
        assert (strategy.states(candidates, count, 0) == chosen).all()
    compares = strategy.id in {"activation-aware", "density-diversity"}
    assert set(asked) == ({len(everything)} if compares else set()), "every state at once"


def test_of_very_many_states_some_are_drawn_to_choose_from(
    pool: StatePool, everything: NDArray[np.int64], signatures: Signatures
) -> None:
    asked: list[list[tuple[int, int]]] = []

    def measure(states: NDArray[np.int64]) -> Signatures:
        asked.append([(row, step) for row, step in states.tolist()])
        return signatures.of(rows_of(everything, states))

    candidates = Candidates(pool=pool, measure=measure)
    for count, most in ((4, 9), (12, 12)):
        chosen = AwareStrategy(most=9).states(candidates, count, 0)
        assert len(chosen) == count
        assert len(set(asked[-1])) == most
        assert {(row, step) for row, step in chosen.tolist()} <= set(asked[-1])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_states_that_are_not_finite_are_refused_by_the_layer_that_meets_them(
    tiny_adm: AudioLDM, pool: StatePool, everything: NDArray[np.int64], wrong: float
) -> None:
    states = StateSet.of(pool, everything)
    inputs = states.inputs.clone()
    inputs[3, 0, 0, 0] = wrong
    with pytest.raises(CalibrationError, match=r"denoiser\.\S+ is given values"):
        measure_signatures(Replay(adm=tiny_adm, states=replace(states, inputs=inputs)))


def test_the_names_that_need_no_torch_are_those_of_the_strategies() -> None:
    assert tuple(STRATEGIES) == STRATEGY_NAMES
    with pytest.raises(ConfigError, match="nearest is 'activation-aware'"):
        CalibrationSettings(strategy="activation_aware")
    with pytest.raises(ConfigError, match="at least 1 state"):
        CalibrationSettings(prompts=0)
    with pytest.raises(ConfigError, match="at least 1 state"):
        CalibrationSettings(states=0)


def test_a_signature_does_not_depend_on_its_neighbours(
    tiny_adm: AudioLDM, pool: StatePool, signatures: Signatures
) -> None:
    alone = StateSet.of(pool, np.array([[2, 3]]))
    found = measure_signatures(Replay(adm=tiny_adm, states=alone))
    index = 2 * STEPS + 3
    assert np.allclose(found.shapes[0], signatures.shapes[index], atol=1e-4)
    for name, peaks in found.peaks.items():
        assert np.allclose(peaks[0], signatures.peaks[name][index], rtol=1e-4), name
    assert np.allclose(found.middle[0], signatures.middle[index], atol=1e-4)


def test_a_signature_says_what_flows_into_the_layers(
    tiny_adm: AudioLDM, pool: StatePool, signatures: Signatures
) -> None:
    """Held against hooks and formulas of the test's own, for the site in the middle."""
    state = np.array([[2, 3]])
    (name,) = (n for n, peaks in signatures.peaks.items() if "mid_block.resnets.0.conv1" in n)
    given: list[NDArray[np.float64]] = []
    layer = get_layer(tiny_adm.parts(), name)
    hook = layer.register_forward_pre_hook(
        lambda _, inputs: given.append(inputs[0].double().numpy())
    )
    try:
        Replay(adm=tiny_adm, states=StateSet.of(pool, state)).predictions()
    finally:
        hook.remove()
    branches = np.concatenate(given).reshape(2, given[0].shape[1], -1)
    index = 2 * STEPS + 3
    assert np.allclose(signatures.peaks[name][index], np.abs(branches).max(axis=(0, 2)), rtol=1e-4)
    assert np.allclose(signatures.middle[index], branches.mean(axis=(0, 2)), atol=1e-4)
    flat = branches.reshape(2, -1)
    magnitudes = np.sort(np.abs(flat), axis=1)
    described = (
        magnitudes[:, -1],
        magnitudes[:, round(0.999 * flat.shape[1]) - 1],
        flat.std(axis=1),
        kurtosis(flat, axis=1, fisher=False),
    )
    site = list(signatures.peaks).index(name)
    for found, values in zip(signatures.shapes[index, site], described, strict=True):
        assert found == pytest.approx(np.log(values).mean(), abs=1e-3)


def test_signatures_are_taken_out_in_any_order(signatures: Signatures) -> None:
    places = np.array([7, 0, 3])
    found = signatures.of(places)
    assert len(found) == 3
    assert (found.shapes == signatures.shapes[places]).all()
    assert (found.middle == signatures.middle[places]).all()
    assert all(
        (peaks == signatures.peaks[name][places]).all() for name, peaks in found.peaks.items()
    )
    assert found.sensitivity is signatures.sensitivity


def test_peaks_are_the_largest_inputs_of_both_branches(
    tiny_adm: AudioLDM, pool: StatePool, signatures: Signatures
) -> None:
    seen: list[torch.Tensor] = []
    layer = tiny_adm.unet.mid_block.resnets[0].conv1
    handle = layer.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    Replay(adm=tiny_adm, states=StateSet.of(pool, np.array([[4, 1]])))({"denoiser"})
    handle.remove()
    expected = seen[0].abs().amax(dim=(0, 2, 3)).numpy()
    peaks = signatures.peaks["denoiser.mid_block.resnets.0.conv1"][4 * STEPS + 1]
    assert np.allclose(peaks, expected, rtol=1e-4)
    weight = layer.weight.square().sum(dim=(0, 2, 3)).sqrt().numpy()
    assert np.allclose(
        signatures.sensitivity["denoiser.mid_block.resnets.0.conv1"], weight, rtol=1e-5
    )


def test_the_aware_set_reaches_outliers_and_timesteps_that_random_ones_miss() -> None:
    found, steps = made_up(), np.arange(60) % 10
    chosen = aware_states(found, steps, 20)
    figures = coverage_figures(found, chosen, seed=0)
    assert figures["outlier_channels"] == 1.0
    assert figures["random_outlier_channels"] < 0.6
    assert figures["range_least"] == 1.0
    assert set(steps[chosen]) == set(range(10)), "half of every quota is even"


def test_half_of_every_timesteps_quota_is_even_and_half_is_by_density() -> None:
    steps = np.arange(400) % 10
    rng = np.random.default_rng(0)
    features = np.stack([np.ones(10), np.geomspace(0.01, 10.0, 10)], axis=1)
    found = Signatures(
        shapes=rng.standard_normal((400, 2, 4)).astype(np.float32),
        peaks={"site": rng.uniform(0.5, 1.0, (400, 30)).astype(np.float32)},
        middle=features[steps].astype(np.float32),
        sensitivity={"site": np.ones(30, dtype=np.float32)},
    )
    count, even = 80, 8
    by_density = density_quotas(features) * count
    assert by_density.min() < 1, "a step that density would leave out"
    counts = np.bincount(steps[aware_states(found, steps, count)], minlength=10)
    assert counts.sum() == count
    assert counts.min() >= even / 2
    assert np.abs(counts - (even + by_density) / 2).max() < 1


def test_more_states_never_cover_less() -> None:
    found, steps = made_up(seed=1), np.arange(60) % 10
    outliers = Outliers.of(found)
    covered = [outliers.coverage(aware_states(found, steps, count)) for count in (2, 5, 10, 20)]
    assert all(a is not None and b is not None and a <= b for a, b in pairwise(covered))
    assert min(range_coverage(found, np.arange(60)).values()) == 1.0


def test_dense_and_diverse_steps_get_more_states() -> None:
    features = np.concatenate([np.ones((6, 3)), [[-1.0, 0.5, 2.0]], [[3.0, -2.0, 0.0]]])
    weights = density_quotas(features)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[6:].max() > weights[:6].max(), "unlike all others"
    assert weights[:6] == pytest.approx(np.full(6, weights[0])), "alike"
    lonely = np.array([[1.0, 0.0], [1.0, 0.01], [1.0, 0.02], [1.0, 9.0]])
    assert density_quotas(lonely).argmax() == 3
    assert density_quotas(np.ones((4, 2))) == pytest.approx(np.full(4, 0.25))


def test_normal_times_prefer_the_middle_and_the_clean_end(pool: StatePool) -> None:
    def refuse(_: NDArray[np.int64]) -> Signatures:
        pytest.fail("this strategy looks at no activations")

    candidates = Candidates(pool=pool, measure=refuse)
    counts: Counter[int] = Counter()
    for seed in range(200):
        chosen = STRATEGIES["normal-in-time"].states(candidates, 3, seed)
        counts.update(int(step) for step in chosen[:, 1])
    # Of N(0.4, 0.4), clamped to 0 … 1 and cut into five: step 0 is the noisiest.
    drawn_first = np.array([counts[step] for step in range(STEPS)]) / counts.total()
    assert drawn_first == pytest.approx([0.16, 0.15, 0.20, 0.18, 0.31], abs=0.06)


def test_rows_of_finds_pairs_again(everything: NDArray[np.int64]) -> None:
    assert rows_of(everything, np.array([[2, 1], [0, 4]])).tolist() == [2 * STEPS + 1, 4]


def test_a_study_says_what_its_calibration_reached(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    config = StudyConfig(
        adm=tiny_adm.id,
        quant=QuantConfig(name="a8", rules=parse_rules("denoiser.*conv* = w8a8")),
        prompts=("a dog barks",),
        steps=3,
        seconds=0.64,
        calibration=replace(drawn(prompts=3, states=4), strategy="activation-aware"),
    )
    report = run_study(config, tiny_adm, runs=tmp_path, ear="no ear")
    assert report.calibration is not None
    assert report.calibration.strategy == "activation-aware"
    coverage = report.calibration.coverage
    assert 0.0 < coverage["range_least"] <= coverage["range_mean"] <= 1.0
    assert coverage["range_mean"] >= coverage["random_range_mean"]
    again = run_study(config, tiny_adm, runs=tmp_path, ear="no ear")
    assert again.calibration == report.calibration
    assert run_folder_of(config, tiny_adm, tmp_path).path.is_dir()
