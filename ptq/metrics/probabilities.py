"""Metrics of label distributions: KL divergence, inception score, top-1 agreement.

Inputs are logits `(clips, classes)`; the distribution of a clip is their softmax.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from ptq.errors import MetricError
from ptq.metrics.base import Array, as_matrix, as_matrix_pair
from ptq.metrics.splits import half_splits

# What audioldm_eval and stable-audio-metrics add to the second distribution before its logarithm.
COMPAT_EPSILON = 1e-6


def kl_ref_gen(
    reference: ArrayLike, estimate: ArrayLike, *, audioldm_compat: bool = False
) -> float:
    """Mean KL(reference ‖ estimate) in nats over paired clips.

    Args:
        reference: Logits of the reference clips `(clips, classes)`.
        estimate: Logits of the generated clips, row by row.
        audioldm_compat: Add 1e-6 to the estimate's probabilities, as audioldm_eval does.

    Raises:
        MetricError: Shapes differ, or logits are not finite.
    """
    first, second = _log_probabilities(reference, estimate)
    return _mean_divergence(first, second, COMPAT_EPSILON if audioldm_compat else 0.0)


def kl_gen_ref(
    reference: ArrayLike, estimate: ArrayLike, *, audioldm_compat: bool = False
) -> float:
    """Mean KL(estimate ‖ reference) in nats over paired clips, the opposite direction.

    Args:
        reference: Logits of the reference clips `(clips, classes)`.
        estimate: Logits of the generated clips, row by row.
        audioldm_compat: Add 1e-6 to the reference's probabilities.

    Raises:
        MetricError: Shapes differ, or logits are not finite.
    """
    first, second = _log_probabilities(reference, estimate)
    return _mean_divergence(second, first, COMPAT_EPSILON if audioldm_compat else 0.0)


def top1_agreement(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Share of paired clips whose most likely class is the same, 0 to 1.

    Args:
        reference: Logits of the reference clips `(clips, classes)`.
        estimate: Logits of the generated clips, row by row.

    Raises:
        MetricError: Shapes differ, or logits are not finite.
    """
    first, second = _log_probabilities(reference, estimate)
    return float(np.mean(first.argmax(axis=1) == second.argmax(axis=1)))


def inception_score(logits: ArrayLike) -> float:
    """IS = exp(mean KL(p(y|x) ‖ p̄(y))) over all clips as one split (Salimans et al. 2016).

    Args:
        logits: `(clips, classes)`.

    Raises:
        MetricError: Logits are not a finite matrix.
    """
    log_p: Array = log_softmax(as_matrix(logits, "logits"), axis=1)
    return _score(log_p)


def split_half_inception_score(logits: ArrayLike, *, splits: int = 8, seed: int = 0) -> float:
    """2·IS_N − mean IS of halves, which removes the 1/N bias (Chong & Forsyth 2020).

    Args:
        logits: `(clips, classes)`, 4 clips or more.
        splits: Number of random halvings without replacement.
        seed: Their seed.

    Raises:
        MetricError: Too few clips or splits, or logits that are not finite.
    """
    log_p: Array = log_softmax(as_matrix(logits, "logits", min_rows=4), axis=1)
    halves = half_splits(log_p.shape[0], splits=splits, seed=seed)
    of_halves = [_score(log_p[index]) for pair in halves for index in pair]
    return 2.0 * _score(log_p) - float(np.mean(of_halves))


def inception_score_parts(
    logits: ArrayLike, *, parts: int = 10, shuffle_seed: int | None = 2020
) -> tuple[float, float]:
    """Mean and standard deviation over consecutive parts, as audioldm_eval reports IS.

    Args:
        logits: `(clips, classes)`.
        parts: Number of parts.
        shuffle_seed: Seed of NumPy's legacy generator that orders the clips; None keeps order.

    Raises:
        MetricError: Fewer clips than parts, or logits that are not finite.
    """
    if parts < 1:
        raise MetricError(f"parts is {parts}; use at least 1.")
    log_p: Array = log_softmax(as_matrix(logits, "logits", min_rows=parts), axis=1)
    n = log_p.shape[0]
    if shuffle_seed is not None:
        log_p = log_p[np.random.RandomState(shuffle_seed).permutation(n)]
    bounds = [part * n // parts for part in range(parts + 1)]
    scores = [_score(log_p[a:b]) for a, b in pairwise(bounds)]
    return float(np.mean(scores)), float(np.std(scores))


def _log_probabilities(reference: ArrayLike, estimate: ArrayLike) -> tuple[Array, Array]:
    first, second = as_matrix_pair(reference, estimate)
    if first.shape != second.shape:
        raise MetricError(
            f"reference has {first.shape[0]} clips and estimate {second.shape[0]}; "
            "these are paired metrics, so drop a failed clip from both."
        )
    return log_softmax(first, axis=1), log_softmax(second, axis=1)


def _mean_divergence(log_p: Array, log_q: Array, epsilon: float) -> float:
    # log-softmax is finite for every finite logit, so nothing is added unless compatibility asks.
    floored = np.log(np.exp(log_q) + epsilon) if epsilon else log_q
    return float(np.sum(np.exp(log_p) * (log_p - floored), axis=1).mean())


def _score(log_p: Array) -> float:
    marginal = np.exp(log_p).mean(axis=0)
    entropy_gap = np.exp(log_p) * (log_p - np.log(np.maximum(marginal, np.finfo(float).tiny)))
    return float(np.exp(entropy_gap.sum(axis=1).mean()))
