"""What every metric checks before it computes: shape, size and finiteness."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ptq.errors import MetricError

Array: TypeAlias = NDArray[np.float64]


def as_finite(values: ArrayLike, name: str) -> Array:
    """Float64 view or copy of `values`, refused when it is empty or holds NaN or infinity.

    Float64 from here on: a float32 mean of features with a large offset already costs 8 % of a
    small Fréchet distance.

    Raises:
        MetricError: `values` is empty or not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise MetricError(f"{name} is empty (shape {array.shape}); give at least one value.")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise MetricError(
            f"{name} holds {bad} values that are NaN or infinite; "
            "drop those clips from both sides of the comparison."
        )
    return array


def as_matrix(values: ArrayLike, name: str, *, min_rows: int = 1) -> Array:
    """Float64 matrix `(rows, columns)`, one row a clip.

    Raises:
        MetricError: Not 2-D, fewer than `min_rows` rows, or not finite.
    """
    array = as_finite(values, name)
    if array.ndim != 2:
        raise MetricError(
            f"{name} has shape {array.shape}; give a matrix of shape (clips, dimensions)."
        )
    if array.shape[0] < min_rows:
        raise MetricError(
            f"{name} has {array.shape[0]} rows where {min_rows} are needed; add clips."
        )
    return array


def as_pair(reference: ArrayLike, estimate: ArrayLike) -> tuple[Array, Array]:
    """Two finite float64 arrays of one shape.

    Raises:
        MetricError: Shapes differ, or one side is empty or not finite.
    """
    first, second = as_finite(reference, "reference"), as_finite(estimate, "estimate")
    if first.shape != second.shape:
        raise MetricError(
            f"reference has shape {first.shape} and estimate {second.shape}; "
            "paired metrics need one shape."
        )
    return first, second


def as_matrix_pair(
    reference: ArrayLike, estimate: ArrayLike, *, min_rows: int = 1
) -> tuple[Array, Array]:
    """Two float64 matrices with the same number of columns; rows may differ.

    Raises:
        MetricError: One is not a valid matrix, or the widths differ.
    """
    first = as_matrix(reference, "reference", min_rows=min_rows)
    second = as_matrix(estimate, "estimate", min_rows=min_rows)
    if first.shape[1] != second.shape[1]:
        raise MetricError(
            f"reference has {first.shape[1]} columns and estimate {second.shape[1]}; "
            "compute both with the same embedder."
        )
    return first, second
