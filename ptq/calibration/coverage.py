"""How much of the activations of all recorded states a chosen set reaches."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptq.calibration.signatures import Signatures

_OUTLIER = 3.0
REACHED = 0.9
_RANDOM_SETS = 20
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Outliers:
    """The channels that stand out, over all sites.

    Attributes:
        reached: Whether a state reaches 90 % of a channel's peak, ``(states, channels)``.
        weights: What each channel counts, ``(channels,)``.
    """

    reached: NDArray[np.bool_]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, signatures: Signatures) -> "Outliers":
        """Find them by the peaks over all states."""
        reached, weights = [], []
        for name, out, weight in standing_out(signatures):
            peaks = signatures.peaks[name][:, out]
            reached.append(peaks >= REACHED * peaks.max(axis=0))
            weights.append(weight)
        return cls(
            reached=np.concatenate(reached, axis=1),
            weights=np.concatenate(weights),
        )

    def coverage(self, chosen: NDArray[np.int64]) -> float | None:
        """Share of the channels, by weight, that a set reaches; ``None`` where none stands out."""
        total = float(self.weights.sum())
        if total <= 0:
            return None
        return float(self.weights[self.reached[chosen].any(axis=0)].sum()) / total


def standing_out(
    signatures: Signatures,
) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.float64]]]:
    """The channels of each site whose peak is far above the usual one, and what each counts."""
    for name, peaks in signatures.peaks.items():
        peak = peaks.max(axis=0)
        live = peak[peak > _TINY]  # a channel that nothing flows through is no usual one
        ratio = peak / (float(np.median(live)) if live.size else 1.0)
        out = ratio > _OUTLIER
        yield name, out, (ratio[out] * signatures.sensitivity[name][out]).astype(np.float64)


def range_coverage(signatures: Signatures, chosen: NDArray[np.int64]) -> dict[str, float]:
    """Peak of each site over a set of states, as a share of its peak over all of them."""
    return {
        name: float(peaks[chosen].max()) / max(float(peaks.max()), _TINY)
        for name, peaks in signatures.peaks.items()
    }


def coverage_figures(
    signatures: Signatures, chosen: NDArray[np.int64], seed: int
) -> dict[str, float]:
    """What a set reaches, and what random sets of its size reach on average.

    ``range_mean`` and ``range_least`` are shares of the sites' peaks, ``outlier_channels`` the
    share of the channels that stand out; each again with ``random_`` before it.
    """
    outliers = Outliers.of(signatures)
    found = _figures(signatures, outliers, chosen)
    sets = _random_sets(len(signatures), len(chosen), seed)
    drawn = [_figures(signatures, outliers, states) for states in sets]
    means = {f"random_{key}": float(np.mean([row[key] for row in drawn])) for key in found}
    return {key: round(value, 4) for key, value in {**found, **means}.items()}


def random_range_coverage(signatures: Signatures, size: int, seed: int) -> dict[str, float]:
    """``range_coverage`` of random sets: the mean of twenty, site by site.

    Args:
        signatures: Of all states.
        size: States of a set.
        seed: Of the draw, which is that of ``coverage_figures``.
    """
    drawn = [
        range_coverage(signatures, states) for states in _random_sets(len(signatures), size, seed)
    ]
    return {name: float(np.mean([row[name] for row in drawn])) for name in drawn[0]}


def _random_sets(states: int, size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    for _ in range(_RANDOM_SETS):
        yield rng.choice(states, size, replace=False)


def _figures(
    signatures: Signatures, outliers: Outliers, chosen: NDArray[np.int64]
) -> dict[str, float]:
    ranges = list(range_coverage(signatures, chosen).values())
    figures = {"range_mean": float(np.mean(ranges)), "range_least": min(ranges)}
    share = outliers.coverage(chosen)
    return figures if share is None else {**figures, "outlier_channels": share}


def rows_of(candidates: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each chosen pair of prompt and step stands among the candidates."""
    places = {(int(row), int(step)): i for i, (row, step) in enumerate(candidates)}
    return np.array([places[int(row), int(step)] for row, step in chosen], dtype=np.int64)
