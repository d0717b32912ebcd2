"""Intervals of the FD increase that cover the truth, and what is absent when they cannot."""

import dataclasses
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ptq.errors import MetricError
from ptq.metrics import (
    Estimator,
    FDIncrease,
    PairedBanks,
    ReferenceBank,
    fd_influence,
    frechet_distance,
    paired_difference,
    paired_increase,
    required_prompts,
)

Array = NDArray[np.float64]
DIM = 16
SPECTRUM = 1.0 / np.arange(1, DIM + 1)
MEAN = 0.8 * np.sqrt(SPECTRUM) * np.where(np.arange(DIM) % 2, 1.0, -1.0)
REFERENCE = ReferenceBank(n=10**6, mean=np.zeros(DIM), factor=np.diag(np.sqrt(1.3 * SPECTRUM)))


def clips(rng: np.random.Generator, n: int) -> Array:
    return rng.standard_normal((n, DIM)) * np.sqrt(SPECTRUM)


def quantized(rng: np.random.Generator, full: Array, *, gain: float, noise: float) -> Array:
    return gain * full + noise * clips(rng, len(full))


def study(seed: int, n: int = 256, *, gain: float = 1.08, noise: float = 0.15) -> PairedBanks:
    """Two clips a prompt, which share half of their variance."""
    rng = np.random.default_rng(seed)
    prompts = np.repeat(np.arange(n // 2), 2)
    full = np.sqrt(0.5) * (clips(rng, n // 2)[prompts] + clips(rng, n)) + MEAN
    return PairedBanks(
        reference=REFERENCE,
        full_precision=full,
        quantized=quantized(rng, full, gain=gain, noise=noise),
        clusters=prompts,
    )


def true_increase_pct(gain: float = 1.08, noise: float = 0.15) -> float:
    def bank(scale: float, variance: float) -> ReferenceBank:
        return ReferenceBank(n=2, mean=scale * MEAN, factor=np.diag(np.sqrt(variance * SPECTRUM)))

    full, changed = bank(1.0, 1.0), bank(gain, gain**2 + noise**2)
    ratio = frechet_distance(REFERENCE, changed) / frechet_distance(REFERENCE, full)
    return 100.0 * (ratio - 1.0)


@lru_cache(maxsize=1)
def repetitions() -> tuple[FDIncrease, ...]:
    return tuple(paired_increase(study(seed), seed=seed) for seed in range(200))


def bounds(result: FDIncrease) -> tuple[float, float, float]:
    assert result.ci95_pct is not None
    assert result.upper95_pct is not None
    return *result.ci95_pct, result.upper95_pct


def test_interval_covers_the_truth() -> None:
    truth = true_increase_pct()
    assert truth > 10.0
    covered = np.mean([lo <= truth <= hi for lo, hi, _ in map(bounds, repetitions())])
    below_upper = np.mean([truth <= upper for *_, upper in map(bounds, repetitions())])
    assert 0.90 <= covered <= 0.98
    assert 0.90 <= below_upper <= 0.985


def test_increase_is_unbiased_and_its_standard_error_honest() -> None:
    increases = np.array([r.increase_pct for r in repetitions()], dtype=np.float64)
    errors = np.array([r.standard_error_pct for r in repetitions()], dtype=np.float64)
    spread = increases.std()
    assert abs(increases.mean() - true_increase_pct()) < 3.0 * spread / np.sqrt(len(increases))
    assert errors.mean() == pytest.approx(spread, rel=0.15)


def test_plug_in_ratio_hides_damage_that_split_half_shows() -> None:
    plug_in = [
        100.0
        * (
            frechet_distance(REFERENCE, b.quantized) / frechet_distance(REFERENCE, b.full_precision)
            - 1.0
        )
        for b in map(study, range(60))
    ]
    corrected = [r.increase_pct for r in repetitions()[:60] if r.increase_pct is not None]
    truth = true_increase_pct()
    assert abs(np.mean(corrected) - truth) < abs(np.mean(plug_in) - truth)
    assert np.mean(plug_in) < truth


def test_pairing_shrinks_the_error() -> None:
    banks = study(0)
    paired = paired_increase(banks).standard_error_pct
    swapped = dataclasses.replace(banks, quantized=np.roll(np.asarray(banks.quantized), 2, axis=0))
    unpaired = paired_increase(swapped).standard_error_pct
    assert paired is not None
    assert unpaired is not None
    assert unpaired > 3.0 * paired


def test_clips_of_one_prompt_are_one_observation() -> None:
    rng = np.random.default_rng(1)
    full = clips(rng, 128) + MEAN
    changed = quantized(rng, full, gain=1.05, noise=0.1)
    single = PairedBanks(reference=REFERENCE, full_precision=full, quantized=changed)
    doubled = PairedBanks(
        reference=REFERENCE,
        full_precision=np.repeat(full, 2, axis=0),
        quantized=np.repeat(changed, 2, axis=0),
        clusters=np.repeat(np.arange(128), 2),
    )
    error = paired_increase(single).standard_error_pct
    assert paired_increase(doubled).standard_error_pct == pytest.approx(error, rel=0.02)
    naive = dataclasses.replace(doubled, clusters=None)
    naive_error = paired_increase(naive).standard_error_pct
    assert error is not None
    assert naive_error is not None
    assert naive_error < 0.8 * error


def test_influence_names_the_clip_that_does_the_damage() -> None:
    banks = study(2, gain=1.0, noise=0.02)
    damaged = np.array(banks.quantized)
    damaged[37] += 3.0 * np.sign(MEAN)
    result = paired_increase(dataclasses.replace(banks, quantized=damaged))
    assert result.influence_pct is not None
    assert int(np.argmax(result.influence_pct)) == 37


def test_unchanged_clips_have_no_increase() -> None:
    banks = study(3)
    same = dataclasses.replace(banks, quantized=banks.full_precision)
    result = paired_increase(same)
    assert result.increase_pct == 0.0
    assert result.upper95_pct == pytest.approx(0.0, abs=1e-9)


def test_too_few_clips_give_plug_in_without_an_interval() -> None:
    result = paired_increase(study(4, n=4 * DIM - 2))
    assert result.estimator is Estimator.PLUG_IN
    assert result.ci95_pct is None
    assert result.upper95_pct is None
    assert "62 clips are fewer than 4 × 16 dimensions" in result.notes[0]
    assert paired_increase(study(4, n=4 * DIM)).estimator is Estimator.SPLIT_HALF


def test_fewer_clips_than_dimensions_have_no_noise_floor() -> None:
    result = paired_increase(study(5, n=12))
    assert result.noise_floor is None
    assert any("noise floor is absent" in note for note in result.notes)
    assert result.increase_pct is not None


def test_ratio_is_refused_near_the_noise_floor() -> None:
    rng = np.random.default_rng(6)
    full = np.sqrt(1.3) * clips(rng, 256)
    banks = PairedBanks(
        reference=REFERENCE, full_precision=full, quantized=quantized(rng, full, gain=1, noise=0.1)
    )
    result = paired_increase(banks)
    assert result.increase_pct is None
    assert result.upper95_pct is None
    assert "noise floor" in result.notes[0]
    assert result.quantized > result.full_precision


def test_a_decrease_is_not_reported_as_an_improvement() -> None:
    result = paired_increase(study(7, gain=0.9, noise=0.0))
    assert result.increase_pct is not None
    assert result.increase_pct < 0.0
    assert "not evidence of better audio" in result.notes[-1]
    assert paired_increase(study(7)).notes == ()


def test_a_small_reference_bank_is_pointed_out() -> None:
    small = ReferenceBank(n=500, mean=REFERENCE.mean, factor=REFERENCE.factor)
    result = paired_increase(dataclasses.replace(study(8), reference=small))
    assert any("500 clips" in note for note in result.notes)


def test_reference_given_as_clips_adds_its_own_error() -> None:
    banks = study(9)
    reference = np.sqrt(1.3) * clips(np.random.default_rng(90), 256)
    as_clips = paired_increase(dataclasses.replace(banks, reference=reference))
    as_bank = paired_increase(
        dataclasses.replace(banks, reference=ReferenceBank.from_embeddings(reference))
    )
    assert as_clips.standard_error_pct is not None
    assert as_bank.standard_error_pct is not None
    assert as_clips.standard_error_pct > 1.05 * as_bank.standard_error_pct


def self_study(seed: int, *, shared: float = 0.5) -> PairedBanks:
    """Full precision with another seed as reference; `shared` is the prompts' part of variance."""
    rng = np.random.default_rng(seed)
    prompts = np.sqrt(shared) * clips(rng, 128) + MEAN
    full, other = (prompts + np.sqrt(1.0 - shared) * clips(rng, 128) for _ in range(2))
    labels = [f"prompt {i}" for i in range(128)]
    return PairedBanks(
        reference=other,
        full_precision=full,
        quantized=quantized(rng, full, gain=1.2, noise=0.2),
        clusters=labels,
        reference_clusters=labels,
    )


def test_difference_to_another_seed_covers_the_truth() -> None:
    scale = np.sqrt(1.2**2 + 0.2**2) - 1.0
    truth = scale**2 * SPECTRUM.sum() + 0.2**2 * (MEAN @ MEAN)
    results = [paired_difference(self_study(seed), seed=seed) for seed in range(60)]
    differences = np.array([r.difference for r in results])
    assert abs(differences.mean() - truth) < 3.0 * differences.std() / np.sqrt(60)
    assert np.mean([r.upper95 is not None and r.upper95 >= truth for r in results]) >= 0.87


def test_a_reference_of_the_same_prompts_shares_their_error() -> None:
    studies = [self_study(seed, shared=0.9) for seed in range(40)]
    results = [paired_difference(banks) for banks in studies]
    spread = np.std([r.difference for r in results])
    assert np.mean([r.standard_error or 0.0 for r in results]) == pytest.approx(spread, rel=0.3)
    strangers = paired_difference(dataclasses.replace(studies[0], reference_clusters=None))
    assert strangers.standard_error is not None
    assert strangers.standard_error > 1.5 * spread


def test_difference_of_few_clips_has_no_bound() -> None:
    result = paired_difference(study(10, n=40))
    assert result.upper95 is None
    assert result.difference == pytest.approx(result.quantized - result.full_precision)


@pytest.mark.parametrize(("spread", "expected"), [(21.0, 299), (35.0, 829)])
def test_planner(spread: float, expected: int) -> None:
    assert required_prompts(3.0, influence_sd_pct=spread) == expected


def test_planner_refuses_an_increase_beyond_the_margin() -> None:
    with pytest.raises(MetricError, match="5\\.50 %"):
        required_prompts(5.5, influence_sd_pct=10.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantized": np.zeros((10, DIM))}, "drop a failed clip from both"),
        ({"clusters": [1, 2, 3]}, "one per clip"),
        ({"reference": np.zeros((50, DIM + 1))}, "same embedder"),
        ({"full_precision": np.full((256, DIM), np.nan)}, "NaN"),
    ],
)
def test_banks_that_do_not_fit_raise(change: dict[str, Any], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        dataclasses.replace(study(11), **change)


def test_influence_of_the_ratio_is_the_paired_combination() -> None:
    banks = study(12)
    result = paired_increase(banks)
    assert result.influence_pct is not None
    expected = fd_influence(REFERENCE, banks.quantized) / result.full_precision
    expected -= (
        result.quantized * fd_influence(REFERENCE, banks.full_precision) / result.full_precision**2
    )
    np.testing.assert_allclose(result.influence_pct, 100.0 * expected, rtol=1e-9)
