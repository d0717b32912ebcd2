"""Distances between a full-precision signal and its quantized twin: same prompt, same noise.

All take numpy arrays or CPU tensors of one shape and reduce in float64.  Identical signals have
an infinite ratio.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from ptq.errors import MetricError
from ptq.metrics.base import Array, as_finite, as_matrix_pair, as_pair


def sqnr_db(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Signal-to-quantization-noise ratio 10·log10(Σz² / Σ(z − ẑ)²) in dB, for any tensor.

    Args:
        reference: Full-precision values, any shape.
        estimate: Quantized values, same shape.

    Raises:
        MetricError: Shapes differ, values are not finite, or the reference is all zero.
    """
    signal, noisy = as_pair(reference, estimate)
    _require_energy(signal, "reference")
    return _ratio_db(float(np.square(signal).sum()), float(np.square(signal - noisy).sum()))


def snr_db(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Signal-to-noise ratio of two waveforms in dB; sensitive to level and delay.

    Args:
        reference: Samples `(time,)` or `(channels, time)`.
        estimate: Samples, same shape.

    Raises:
        MetricError: Shapes differ, samples are not finite, or the reference is digital silence.
    """
    return sqnr_db(reference, estimate)


def si_sdr_db(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Scale-invariant SDR in dB (Le Roux et al. 2019, eq. 4), without removing the mean.

    Of latents this is the scale-invariant SQNR.

    Args:
        reference: Values of any shape.
        estimate: Values, same shape.

    Raises:
        MetricError: Shapes differ, values are not finite, or one side is all zero.
    """
    signal, noisy = as_pair(reference, estimate)
    _require_energy(signal, "reference")
    _require_energy(noisy, "estimate")
    target = signal * (np.sum(noisy * signal) / np.square(signal).sum())
    return _ratio_db(float(np.square(target).sum()), float(np.square(target - noisy).sum()))


def embedding_cosine(reference: ArrayLike, estimate: ArrayLike) -> Array:
    """Cosine similarity of paired embeddings.

    Args:
        reference: `(n, dim)`.
        estimate: `(n, dim)`, row by row.

    Returns:
        One similarity a pair, `(n,)`.

    Raises:
        MetricError: Shapes differ, values are not finite, or an embedding is all zero.
    """
    first, second = as_matrix_pair(reference, estimate)
    first, second = as_pair(first, second)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    if (norms == 0.0).any():
        row = int(np.argmin(norms))
        raise MetricError(f"the embedding of pair {row} is all zero; drop that pair.")
    cosine: Array = np.sum(first * second, axis=1) / norms
    return cosine


def divergence_index(quantized_distance: ArrayLike, seed_distance: ArrayLike) -> Array:
    """Distance to full precision in units of the distance to another seed of the same prompt.

    0 is identical, 1 as different as another seed: diffusion is chaotic, so a quantized model may
    make an equally good but different clip, and only this scale tells how far it went.

    Args:
        quantized_distance: D(FP, Q) of every prompt, `(n,)` or a number.
        seed_distance: D(FP, FP with another seed), same shape.

    Returns:
        The index of every prompt, `(n,)`.

    Raises:
        MetricError: Shapes differ, a distance is negative, or a seed distance is zero.
    """
    to_quantized = np.atleast_1d(as_finite(quantized_distance, "quantized_distance"))
    to_seed = np.atleast_1d(as_finite(seed_distance, "seed_distance"))
    if to_quantized.shape != to_seed.shape:
        raise MetricError(
            f"quantized_distance has shape {to_quantized.shape} and seed_distance "
            f"{to_seed.shape}; give one of each per prompt."
        )
    if (to_quantized < 0.0).any():
        raise MetricError(f"a distance is {to_quantized.min():.3g}; distances are not negative.")
    if (to_seed <= 0.0).any():
        prompt = int(np.argmin(to_seed))
        raise MetricError(
            f"the seed distance of prompt {prompt} is {to_seed[prompt]:.3g}; "
            "generate its second clip with another seed."
        )
    index: Array = to_quantized / to_seed
    return index


def _require_energy(values: Array, name: str) -> None:
    if not values.any():
        raise MetricError(f"{name} is all zero, so a ratio to it is undefined; drop the pair.")


def _ratio_db(signal: float, noise: float) -> float:
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf
