"""Maximum mean discrepancy between two sets of embeddings: KAD and KID.

Both use the unbiased U-statistic (Gretton et al. 2012, eq. 3), which needs no Gaussian and no
more clips than dimensions.  Being unbiased it may be negative, and is never clipped.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import distance

from ptq.errors import MetricError
from ptq.metrics.base import Array, as_matrix, as_matrix_pair

Kernel: TypeAlias = Callable[[Array, Array], Array]

KAD_SCALE = 100.0
BLOCK_ROWS = 1024
MEDIAN_ROWS = 4096


def median_distance(reference: ArrayLike) -> float:
    """Median Euclidean distance between pairs of rows, the kernel bandwidth of KAD.

    Of an even number of pairs the lower middle one counts, as in the published implementation.
    Above 4096 rows an evenly spaced subset of them is used.

    Args:
        reference: Embeddings `(n_ref, dim)`.

    Raises:
        MetricError: Fewer than 2 rows, or most rows are equal.
    """
    rows = as_matrix(reference, "reference", min_rows=2)
    if rows.shape[0] > MEDIAN_ROWS:
        rows = rows[np.linspace(0, rows.shape[0] - 1, MEDIAN_ROWS).astype(np.intp)]
    median = float(np.quantile(distance.pdist(rows), 0.5, method="lower"))
    if median <= 0.0:
        raise MetricError("the median distance of the reference is 0; its clips are all equal.")
    return median


def kernel_audio_distance(
    reference: ArrayLike,
    estimate: ArrayLike,
    *,
    bandwidth: float | None = None,
    paired: bool = False,
) -> float:
    """KAD: unbiased MMD² with an RBF kernel, times 100 (Chung et al. 2025).

    Args:
        reference: Embeddings `(n_ref, dim)`.
        estimate: Embeddings `(n, dim)`.
        bandwidth: Kernel width; None takes the reference's median distance, so that one
            reference gives every estimate the same kernel.
        paired: Whether row i of both stems from one prompt and noise. Such rows are no
            independent draws and are left out of the mean across the banks, which they would
            pull below 0: banks that are equal then have a distance of 0.

    Raises:
        MetricError: Invalid embeddings, fewer than 2 rows, a bandwidth that is not positive and
            finite, or paired banks of different length.
    """
    first, second = as_matrix_pair(reference, estimate, min_rows=2)
    if paired and len(first) != len(second):
        raise MetricError(
            f"paired banks have {len(first)} and {len(second)} rows; give one of each per pair."
        )
    width = median_distance(first) if bandwidth is None else bandwidth
    if not 0.0 < width < np.inf:
        raise MetricError(f"bandwidth is {width}; give a positive one, or None for the median.")

    def rbf(x: Array, y: Array) -> Array:
        values: Array = np.exp(distance.cdist(x, y, "sqeuclidean") / (-2.0 * width**2))
        return values

    return KAD_SCALE * _unbiased_mmd2(first, second, rbf, paired=paired)


def kernel_inception_distance(reference: ArrayLike, estimate: ArrayLike) -> float:
    """KID: unbiased MMD² with the kernel (x·y/dim + 1)³, over all clips (Bińkowski et al. 2018).

    Args:
        reference: Embeddings `(n_ref, dim)`.
        estimate: Embeddings `(n, dim)`.

    Raises:
        MetricError: Invalid embeddings or fewer than 2 rows.
    """
    first, second = as_matrix_pair(reference, estimate, min_rows=2)
    dim = first.shape[1]

    def cubic(x: Array, y: Array) -> Array:
        values: Array = (x @ y.T / dim + 1.0) ** 3
        return values

    return _unbiased_mmd2(first, second, cubic, paired=False)


def _unbiased_mmd2(x: Array, y: Array, kernel: Kernel, *, paired: bool) -> float:
    within = _mean_off_diagonal(x, x, kernel) + _mean_off_diagonal(y, y, kernel)
    if paired:
        return within - 2.0 * _mean_off_diagonal(x, y, kernel)
    across = sum(float(kernel(block, y).sum()) for _, block in _blocks(x))
    return within - 2.0 * across / (len(x) * len(y))


def _mean_off_diagonal(x: Array, y: Array, kernel: Kernel) -> float:
    total = 0.0
    for start, block in _blocks(x):
        values = kernel(block, y)
        total += float(values.sum() - np.trace(values, offset=start))
    return total / (len(x) * (len(x) - 1))


def _blocks(x: Array) -> Iterator[tuple[int, Array]]:
    # The kernel matrix of a reference of 10 000 clips alone would take 800 MB.
    for start in range(0, len(x), BLOCK_ROWS):
        yield start, x[start : start + BLOCK_ROWS]
