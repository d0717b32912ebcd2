"""Triangular filter banks on a perceptual frequency scale, own-built: no audio library needed."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ptq.errors import MetricError

Array: TypeAlias = NDArray[np.float64]
Warp: TypeAlias = Callable[[Array], Array]


def hz_to_mel(frequency_hz: Array) -> Array:
    """Mel value of a frequency in Hz: 2595·log10(1 + f/700) (O'Shaughnessy 1987)."""
    mel: Array = 2595.0 * np.log10(1.0 + frequency_hz / 700.0)
    return mel


def hz_to_erb_rate(frequency_hz: Array) -> Array:
    """Number of equivalent rectangular bandwidths below a frequency (Glasberg & Moore 1990)."""
    rate: Array = 21.4 * np.log10(1.0 + 0.00437 * frequency_hz)
    return rate


def triangular_filters(
    *, sample_rate_hz: int, n_fft: int, n_bands: int, range_hz: tuple[float, float], warp: Warp
) -> NDArray[np.float32]:
    """Filters of equal width on the warped scale, each averaging the power of its bins.

    Args:
        sample_rate_hz: Rate of the audio.
        n_fft: Length of the Fourier transform.
        n_bands: Number of filters.
        range_hz: Lower edge of the first filter and upper edge of the last.
        warp: Frequency in Hz to the perceptual scale.

    Returns:
        Weights `(n_bands, n_fft // 2 + 1)`; every row sums to 1, so that white noise of unit
        power gives 1 in every band.

    Raises:
        MetricError: A filter holds no bin of the transform.
    """
    bins = warp(np.linspace(0.0, sample_rate_hz / 2, n_fft // 2 + 1))
    low, high = warp(np.asarray(range_hz, dtype=np.float64))
    edges = np.linspace(low, high, n_bands + 2)
    width = edges[1] - edges[0]
    weights = np.maximum(0.0, 1.0 - np.abs(bins[None, :] - edges[1:-1, None]) / width)
    total = weights.sum(axis=1, keepdims=True)
    if not (total > 0.0).all():
        empty = int((total <= 0.0).sum())
        raise MetricError(f"{empty} of {n_bands} filters hold no bin; use a larger n_fft.")
    return np.asarray(weights / total, dtype=np.float32)
