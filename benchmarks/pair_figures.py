"""What the pairs of two banks differ by, one number a pair, and how they drift apart over time."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ptq.audio import AudioClip
from ptq.banks import Ear
from ptq.errors import MetricError
from ptq.metrics import rms_db, sqnr_db
from ptq.scoring import embedding_scores, score_pair

Samples = NDArray[np.float32]
Figures = Mapping[str, Sequence[float | None]]

# What a clip does from its first third to its last, quantized less full precision.
DRIFTS: Mapping[str, str] = MappingProxyType(
    {
        "sqnr_first_db": "SQNR of the first third, dB",
        "sqnr_last_db": "of the last third",
        "level_drift_db": "drift of the level, dB",
        "centroid_drift_octaves": "of the spectral centroid, octaves",
    }
)
_THIRDS = 3


class Bank(Protocol):
    """Clips of one model, and the latents that they were decoded from."""

    def clips(self) -> Sequence[AudioClip]:
        """Every clip."""

    def latents(self) -> Sequence[NDArray[np.float32]]:
        """Final latents of every clip, (channels, frames, mels)."""


def pair_figures(ear: Ear, full: Bank, second: Bank, quantized: Bank) -> Figures:
    """Every figure of every pair; ``None`` where a pair has none.

    Args:
        ear: Hears how far clips are apart.
        full: Full precision.
        second: Full precision from other noise, the unit of the divergence index.
        quantized: The same prompts and noise as ``full``.
    """
    clips = list(zip(full.clips(), quantized.clips(), strict=True))
    latents = list(zip(full.latents(), quantized.latents(), strict=True))
    pairs = [score_pair(a, b, both) for (a, b), both in zip(clips, latents, strict=True)]
    thirds = [[np.array_split(z, _THIRDS, axis=1) for z in both] for both in latents]
    samples = [(a.samples, b.samples) for a, b in clips]
    figures: dict[str, Sequence[float | None]] = {
        "latent_sqnr_db": [pair.latent_sqnr_db for pair in pairs],
        "log_mel_l1_db": [pair.log_mel_l1_db for pair in pairs],
        "divergence_index": _divergence(ear, full, second, quantized),
        "sqnr_first_db": [_sqnr_db(a[0], b[0]) for a, b in thirds],
        "sqnr_last_db": [_sqnr_db(a[-1], b[-1]) for a, b in thirds],
        "level_drift_db": [_gain(_level_drift_db, *both) for both in samples],
        "centroid_drift_octaves": [_gain(_centroid_drift, *both) for both in samples],
    }
    return {name: [_finite(value) for value in values] for name, values in figures.items()}


def summary(values: Sequence[float | None]) -> dict[str, float] | None:
    """Median and quartiles of what there is."""
    found = np.array([value for value in values if value is not None])
    if not len(found):
        return None
    low, middle, high = np.percentile(found, [25, 50, 75])
    return {"median": float(middle), "low": float(low), "high": float(high), "n": len(found)}


def _divergence(ear: Ear, full: Bank, second: Bank, quantized: Bank) -> Sequence[float | None]:
    """How far pairs are apart in what is heard; ``None`` for a clip that is not finite."""
    banks = [[clip.samples for clip in bank.clips()] for bank in (full, second, quantized)]
    rows = [i for i, three in enumerate(zip(*banks, strict=True)) if _are_finite(three)]
    found: list[float | None] = [None] * len(banks[0])
    if rows:
        a, b, c = (ear.embed([bank[i] for i in rows]) for bank in banks)
        index = embedding_scores(a, b, c)[1]
        for row, value in zip(rows, index.tolist(), strict=True):
            found[row] = value
    return found


def _are_finite(clips: Sequence[Samples]) -> bool:
    return all(bool(np.isfinite(clip).all()) for clip in clips)


def _sqnr_db(reference: NDArray[np.float32], estimate: NDArray[np.float32]) -> float | None:
    try:
        return sqnr_db(reference, estimate)
    except MetricError:
        return None


def _gain(measure: Callable[[Samples], float], full: Samples, quantized: Samples) -> float:
    """What a quantized clip has more of; NaN where one is not finite."""
    if not _are_finite((full, quantized)):
        return float("nan")
    return measure(quantized) - measure(full)


def _level_drift_db(samples: Samples) -> float:
    """How much louder a clip ends than it begins; NaN where either is silent."""
    first, *_, last = (rms_db(part) for part in np.array_split(samples, _THIRDS))
    return last - first if np.isfinite([first, last]).all() else float("nan")


def _centroid_drift(samples: Samples) -> float:
    """By how many octaves a clip ends brighter than it begins; NaN where either is silent."""
    first, *_, last = (_centroid(part) for part in np.array_split(samples, _THIRDS))
    return float(np.log2(last / first))


def _centroid(samples: Samples) -> float:
    """Mean frequency of the power, in cycles a sample; NaN for silence."""
    power = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    total = float(power.sum())
    return float(power @ np.fft.rfftfreq(len(samples))) / total if total > 0 else float("nan")


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
