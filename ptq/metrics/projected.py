"""FD of few clips: in the few directions in which the reference varies most.

A family of sounds has too few clips for the bias correction in the full embedding. Projected on
the leading principal axes of an independent reference bank, it has enough.
"""

import numpy as np
from numpy.typing import ArrayLike

from ptq.errors import MetricError
from ptq.metrics.base import Array, as_matrix
from ptq.metrics.frechet import ReferenceBank
from ptq.metrics.inference import MIN_FLOOR_RATIO, FDIncrease, paired_increase
from ptq.metrics.paired_banks import MIN_CLIPS_PER_DIM, PairedBanks
from ptq.metrics.splits import Labels

MAX_AXES = 32
MIN_AXES = 4


def principal_axes(bank: ReferenceBank, count: int) -> Array:
    """Leading eigenvectors of the bank's covariance, `(dim, count)`, orthonormal."""
    axes: Array = np.linalg.svd(bank.factor, full_matrices=False)[2][:count].T
    return axes


def projected_increase(
    bank: ReferenceBank,
    full_precision: ArrayLike,
    quantized: ArrayLike,
    *,
    clusters: Labels | None = None,
    seed: int = 0,
) -> FDIncrease:
    """Paired FD increase in as many leading axes of the bank as the clips can resolve.

    Args:
        bank: Reference of the same kind of clips.
        full_precision: Embeddings `(n, dim)`.
        quantized: Embeddings `(n, dim)`, paired with them.
        clusters: Prompt of every row; None when each row has a prompt of its own.
        seed: Seed of the split halves.

    Raises:
        MetricError: Fewer than 16 clips: not even four axes can be resolved.
    """
    full = as_matrix(full_precision, "full_precision")
    other = as_matrix(quantized, "quantized")
    count = min(MAX_AXES, len(full) // MIN_CLIPS_PER_DIM)
    if count < MIN_AXES:
        raise MetricError(
            f"{len(full)} clips resolve {count} directions; "
            f"generate at least {MIN_AXES * MIN_CLIPS_PER_DIM} of the family."
        )
    axes = principal_axes(bank, count)
    small = ReferenceBank(n=bank.n, mean=bank.mean @ axes, factor=bank.factor @ axes)
    banks = PairedBanks(
        reference=small,
        full_precision=full @ axes,
        quantized=other @ axes,
        clusters=clusters,
    )
    return paired_increase(banks, seed=seed)


def resolvable_pct(found: FDIncrease) -> float:
    """Rise of a family's FD, in percent of its full-precision FD or of the least that counts.

    Where a model meets a family so well that its FD lies below three times the noise floor, the
    ratio of two FDs is noise over noise. The rise is then given in percent of three times the
    floor: what is smaller than a share of that cannot be told from another draw of prompts.

    Raises:
        MetricError: If neither is positive.
    """
    unit = max(found.full_precision, MIN_FLOOR_RATIO * (found.noise_floor or 0.0))
    if unit <= 0.0:
        raise MetricError("neither FD nor its noise floor is positive; generate more clips.")
    return 100.0 * (found.quantized - found.full_precision) / unit
