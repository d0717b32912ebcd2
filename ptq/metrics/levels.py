"""Defects that no distance forgives: silence, clipping, NaN, and a changed level."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ptq.errors import MetricError
from ptq.metrics.base import as_finite

SILENCE_DB = -60.0
FULL_SCALE = 0.999
# A louder transient may touch full scale for a moment; one sample in a thousand is heard.
MAX_CLIPPED_SHARE = 1e-3


@dataclass(frozen=True, kw_only=True)
class ClipFlags:
    """Defects of one clip; a clip with NaN is neither silent nor clipped."""

    silent: bool
    clipped: bool
    nan: bool


@dataclass(frozen=True, kw_only=True)
class NewDefects:
    """Pairs where the estimate has a defect that the reference has not."""

    silent: int
    clipped: int
    nan: int


def rms_db(samples: ArrayLike) -> float:
    """Root-mean-square level in dB re full scale; −inf for digital silence.

    Args:
        samples: Any shape, full scale is 1.

    Raises:
        MetricError: No samples, or samples that are not finite.
    """
    power = float(np.square(as_finite(samples, "samples")).mean())
    return float(10.0 * np.log10(power)) if power > 0.0 else -np.inf


def clip_flags(samples: ArrayLike) -> ClipFlags:
    """Check one clip: RMS below −60 dB, over 0.1 % of samples at full scale, NaN or infinity.

    Args:
        samples: Any shape, full scale is 1.

    Raises:
        MetricError: There are no samples.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.size == 0:
        raise MetricError("the clip has no samples; generate it again.")
    if not np.isfinite(values).all():
        return ClipFlags(silent=False, clipped=False, nan=True)
    return ClipFlags(
        silent=rms_db(values) < SILENCE_DB,
        clipped=bool(np.mean(np.abs(values) >= FULL_SCALE) > MAX_CLIPPED_SHARE),
        nan=False,
    )


def new_defects(reference: Iterable[ClipFlags], estimate: Iterable[ClipFlags]) -> NewDefects:
    """Count the defects that appear in the estimates only.

    Args:
        reference: Flags of the full-precision clips.
        estimate: Flags of the quantized clips, in the same order.

    Raises:
        MetricError: The numbers of clips differ.
    """
    before, after = list(reference), list(estimate)
    if len(before) != len(after):
        raise MetricError(
            f"{len(before)} reference clips and {len(after)} estimates; "
            "flags are compared in pairs."
        )
    pairs = list(zip(before, after, strict=True))
    return NewDefects(
        silent=sum(q.silent and not p.silent for p, q in pairs),
        clipped=sum(q.clipped and not p.clipped for p, q in pairs),
        nan=sum(q.nan and not p.nan for p, q in pairs),
    )
