"""Activation-aware choice of calibration states.

A good set stands for all states, reaches the peaks of the channels that stand out, and leaves no
timestep without. The three are one submodular goal, reached greedily:

    G(S) = closeness of every state to S in signature space
         + share of the outlier channels, by weight, whose peak S reaches to 90 %
         + how far S fills each timestep's quota: half of it even, half by density and diversity

An outlier channel peaks at more than three times its layer's median channel; its weight is that
ratio times the norm of the weights that it meets. Outlier cover for calibration is CoverCal's idea
(arXiv 2604.24008); how the paper that this project implements chooses could not be had.
"""

import numpy as np
from numpy.typing import NDArray

from ptq.calibration.coverage import Outliers
from ptq.calibration.density import density_quotas
from ptq.calibration.signatures import Signatures
from ptq.submodular import Cover, FacilityLocation, Quotas, WeightedSum, lazy_greedy

_EVEN_SHARE = 0.5


def aware_states(signatures: Signatures, steps: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Choose states greedily, and return their indices in the order of their choice.

    Args:
        signatures: Of every candidate.
        steps: Timestep of every candidate, ``(states,)``.
        count: How many to choose.
    """
    features = signatures.features()
    outliers = Outliers.of(signatures)
    goal = WeightedSum(
        [
            FacilityLocation(np.maximum(features @ features.T, 0.0)),
            Cover(outliers.reached, outliers.weights),
            Quotas(*_quotas(signatures, steps, count)),
        ],
        [1.0, 1.0, 1.0],
    )
    chosen, _ = lazy_greedy(goal, len(signatures), count)
    return np.array(chosen, dtype=np.int64)


def _quotas(
    signatures: Signatures, steps: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Class of every candidate, and how many states each class should have."""
    found, classes = np.unique(steps, return_inverse=True)
    means = np.stack([signatures.middle[classes == i].mean(axis=0) for i in range(len(found))])
    shares = _EVEN_SHARE / len(found) + (1.0 - _EVEN_SHARE) * density_quotas(means)
    return classes.astype(np.int64), shares * count
