"""Which timesteps deserve more states: those that many resemble, and those that differ.

After EDA-DM (Liu et al. 2024, arXiv 2401.04585). Its radius is a fixed number of one model's
features; ours is a percentile of the distances found, so that it fits every model. Its features are
what the middle block puts out; ours are the channel means of what the block's first convolution is
given (``ptq.calibration.signatures``), since layers' inputs are what is watched.
"""

import numpy as np
from numpy.typing import NDArray

_RADIUS_PERCENTILE = 25.0
_DIVERSITY = 1.2
_TINY = 1e-12


def density_quotas(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the weight of every timestep, density plus 1.2 times diversity; they sum to 1.

    Args:
        features: What stands for each timestep, ``(steps, channels)``.
    """
    rows = features.astype(np.float64)
    distances = ((rows[:, None] - rows[None]) ** 2).mean(axis=2)
    pairs = distances[np.triu_indices(len(rows), k=1)]
    radius = np.percentile(pairs, _RADIUS_PERCENTILE) if len(pairs) else 0.0
    density = (distances <= radius).sum(axis=1).astype(np.float64)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
    diversity = (1.0 - unit @ unit.T).sum(axis=1)
    weights = _scaled(density) + _DIVERSITY * _scaled(diversity)
    # Steps that are all alike deserve the same.
    total = float(weights.sum())
    return weights / total if total > _TINY else np.full(len(rows), 1.0 / len(rows))


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = float(values.min()), float(values.max())
    scaled: NDArray[np.float64] = (values - low) / max(high - low, _TINY)
    return scaled
