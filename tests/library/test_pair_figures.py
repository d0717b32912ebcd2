"""What pairs differ by: drifts are told from differences that were there from the beginning."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.pair_figures import pair_figures, summary
from ptq.audio import AudioClip
from tests.band_ear import RATE_HZ, BandEar

THIRD = 4000
SECONDS = np.arange(3 * THIRD) / RATE_HZ
TONE = 0.1 * np.sin(2 * np.pi * 500 * SECONDS)
RNG = np.random.default_rng(3)
LATENTS = RNG.standard_normal((8, 12, 4)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Clips that are there already."""

    samples: Sequence[NDArray[np.float64]]
    latent: NDArray[np.float32] = field(default_factory=LATENTS.copy)

    def clips(self) -> list[AudioClip]:
        return [
            AudioClip(samples=each.astype(np.float32), sample_rate_hz=RATE_HZ)
            for each in self.samples
        ]

    def latents(self) -> list[NDArray[np.float32]]:
        return [self.latent] * len(self.samples)


FULL = Kept(samples=[TONE])
SECOND = Kept(samples=[0.1 * RNG.standard_normal(3 * THIRD)])


def figure(name: str, quantized: Kept) -> float | None:
    (found,) = pair_figures(BandEar(), FULL, SECOND, quantized)[name]
    return found


def test_a_clip_that_grows_louder_drifts_and_one_that_is_louder_does_not() -> None:
    louder, growing = 2 * TONE, TONE.copy()
    growing[-THIRD:] *= 2
    assert figure("level_drift_db", Kept(samples=[louder])) == pytest.approx(0.0, abs=1e-6)
    assert figure("level_drift_db", Kept(samples=[growing])) == pytest.approx(6.02, abs=0.01)


def test_a_clip_that_ends_an_octave_higher_has_drifted_by_one() -> None:
    rising = TONE.copy()
    rising[-THIRD:] = 0.1 * np.sin(2 * np.pi * 1000 * SECONDS[-THIRD:])
    found = figure("centroid_drift_octaves", Kept(samples=[rising]))
    assert found == pytest.approx(1.0, abs=0.01)


def test_errors_of_latents_are_placed_where_they_are() -> None:
    late = LATENTS.copy()
    late[:, -4:] *= 1.1
    quantized = replace(FULL, latent=late)
    assert figure("sqnr_first_db", quantized) is None, "no error, no ratio"
    assert figure("sqnr_last_db", quantized) == pytest.approx(20.0, abs=0.01)


def test_another_seed_is_the_unit_of_divergence_and_a_broken_clip_has_none() -> None:
    assert figure("divergence_index", SECOND) == pytest.approx(1.0)
    assert figure("divergence_index", FULL) == pytest.approx(0.0, abs=1e-6)
    broken = Kept(samples=[np.full(3 * THIRD, np.nan)])
    for name in ("divergence_index", "level_drift_db", "centroid_drift_octaves"):
        assert figure(name, broken) is None


def test_a_summary_leaves_out_what_is_not_there() -> None:
    assert summary([1.0, None, 3.0]) == {"median": 2.0, "low": 1.5, "high": 2.5, "n": 2}
    assert summary([None]) is None
