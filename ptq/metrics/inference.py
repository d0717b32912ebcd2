"""How sure a study can be that quantization changed the Fréchet distance.

Both banks of a study hold the same prompts and the same noise, so almost all of their sampling
error is shared and cancels in FD(Q, R)/FD(FP, R) − 1.  What remains is estimated from the paired
influence functions, summed per prompt; a percentile bootstrap of the plug-in ratio does not cover
the truth.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptq.errors import MetricError
from ptq.metrics.base import Array
from ptq.metrics.frechet import ReferenceBank, as_bank, fd_influence, noise_floor
from ptq.metrics.paired_banks import MIN_CLIPS_PER_DIM, Estimator, PairedBanks
from ptq.metrics.splits import cluster_codes

MIN_REFERENCE_RATIO = 10
MIN_FLOOR_RATIO = 3.0
MARGIN_PCT = 5.0


@dataclass(frozen=True, kw_only=True, eq=False)
class FDIncrease:
    """FD(Q, R)/FD(FP, R) − 1 with its uncertainty; what could not be computed is None.

    Attributes:
        estimator: Estimator of both distances.
        n: Clips per bank.
        n_reference: Clips behind the reference.
        dim: Embedding dimension.
        full_precision: FD of the full-precision bank.
        quantized: FD of the quantized bank.
        noise_floor: Predicted plug-in FD of two samples of the reference's Gaussian.
        increase_pct: The increase in percent.
        standard_error_pct: Its standard error, clustered by prompt.
        ci95_pct: Two-sided 95 % interval.
        upper95_pct: One-sided 95 % upper bound.
        influence_pct: Effect of every clip on the increase, `(n,)`; the largest values are the
            clips that cause the damage.
        notes: One sentence for each thing that is absent or needs care.
    """

    estimator: Estimator
    n: int
    n_reference: int
    dim: int
    full_precision: float
    quantized: float
    noise_floor: float | None
    increase_pct: float | None = None
    standard_error_pct: float | None = None
    ci95_pct: tuple[float, float] | None = None
    upper95_pct: float | None = None
    influence_pct: Array | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FDDifference:
    """FD(Q, R) − FD(FP, R) in units of FD; without an interval where FD is plug-in."""

    estimator: Estimator
    full_precision: float
    quantized: float
    standard_error: float | None
    upper95: float | None

    @property
    def difference(self) -> float:
        """The difference itself."""
        return self.quantized - self.full_precision


def paired_increase(banks: PairedBanks, *, splits: int = 8, seed: int = 0) -> FDIncrease:
    """Relative increase of FD that quantization causes, with its 95 % interval.

    Args:
        banks: Reference, full-precision and quantized embeddings.
        splits: Number of split halves, shared by both banks.
        seed: Seed of the splits.

    Raises:
        MetricError: Labels or splits that do not fit the banks.
    """
    full, quantized = banks.distances(splits=splits, seed=seed)
    floor = _predicted_floor(banks)
    ratio, error, degrees, psi = None, None, 0, None
    refused = _refusal(banks, full, floor)
    if refused is None:
        ratio = 100.0 * (quantized / full - 1.0)
        if banks.estimator is Estimator.SPLIT_HALF:
            weights = (100.0 / full, -100.0 * quantized / full**2)
            error, degrees, psi = _clustered_error(banks, *weights)
    interval = None
    if ratio is not None and error is not None:
        half_width = float(stats.t.ppf(0.975, degrees)) * error
        interval = (ratio - half_width, ratio + half_width)
    return FDIncrease(
        estimator=banks.estimator,
        n=banks.n,
        n_reference=banks.n_reference,
        dim=banks.dim,
        full_precision=full,
        quantized=quantized,
        noise_floor=floor,
        increase_pct=ratio,
        standard_error_pct=error,
        ci95_pct=interval,
        upper95_pct=_upper95(ratio, error, degrees),
        influence_pct=psi,
        notes=_notes(banks, refused, ratio, error),
    )


def paired_difference(banks: PairedBanks, *, splits: int = 8, seed: int = 0) -> FDDifference:
    """Absolute change of FD, for references where the ratio means nothing.

    With the clips of another seed as reference this is FD(Q, FP-B) − FD(FP-A, FP-B): the
    distance to full precision that another seed does not explain.

    Args:
        banks: Reference, full-precision and quantized embeddings.
        splits: Number of split halves, shared by both banks.
        seed: Seed of the splits.

    Raises:
        MetricError: Labels or splits that do not fit the banks.
    """
    full, quantized = banks.distances(splits=splits, seed=seed)
    error, degrees = None, 0
    if banks.estimator is Estimator.SPLIT_HALF:
        error, degrees, _ = _clustered_error(banks, 1.0, -1.0)
    return FDDifference(
        estimator=banks.estimator,
        full_precision=full,
        quantized=quantized,
        standard_error=error,
        upper95=_upper95(quantized - full, error, degrees),
    )


def required_prompts(
    increase_pct: float, *, influence_sd_pct: float, margin_pct: float = MARGIN_PCT
) -> int:
    """Prompts for an upper bound below the margin: N = (1.645·s/(margin − r))².

    Args:
        increase_pct: Increase seen in a pilot.
        influence_sd_pct: Spread of the increase per prompt: the pilot's standard error times the
            square root of its prompts.
        margin_pct: The margin.

    Raises:
        MetricError: The pilot's increase already reaches the margin, or the spread is negative.
    """
    if increase_pct >= margin_pct or influence_sd_pct < 0.0:
        raise MetricError(
            f"no number of prompts can put an increase of {increase_pct:.2f} % (spread "
            f"{influence_sd_pct:.2f} %) below {margin_pct:.2f} %; raise the margin or the bits."
        )
    quantile = float(stats.norm.ppf(0.95))
    return math.ceil((quantile * influence_sd_pct / (margin_pct - increase_pct)) ** 2)


def _upper95(value: float | None, error: float | None, degrees: int) -> float | None:
    # Student's quantile: the normal one is too narrow for few prompts, and equal for many.
    if value is None or error is None:
        return None
    return value + float(stats.t.ppf(0.95, degrees)) * error


def _clustered_error(
    banks: PairedBanks, quantized_weight: float, full_weight: float
) -> tuple[float, int, Array]:
    """Standard error, degrees of freedom and ψ of `w_q·FD(Q, R) + w_f·FD(FP, R)`."""
    reference, full, quantized = banks.reference, banks.full_precision, banks.quantized
    bank = as_bank(reference)
    psi = quantized_weight * fd_influence(bank, quantized)
    psi += full_weight * fd_influence(bank, full)
    terms, labels = psi / banks.n, cluster_codes(banks.n, banks.clusters)
    if not isinstance(reference, ReferenceBank):
        # FD is symmetric: seen from the other side the reference's clips are the estimate.
        of_reference = quantized_weight * fd_influence(quantized, reference)
        of_reference += full_weight * fd_influence(full, reference)
        terms = np.concatenate([terms, of_reference / banks.n_reference])
        labels = _joint_codes(banks)
    sums = np.bincount(labels, weights=terms)
    variance = sums.size / (sums.size - 1) * np.square(sums - sums.mean()).sum()
    return float(np.sqrt(variance)), sums.size - 1, psi


def _joint_codes(banks: PairedBanks) -> NDArray[np.intp]:
    own = cluster_codes(banks.n, banks.clusters)
    if banks.clusters is None or banks.reference_clusters is None:
        others = cluster_codes(banks.n_reference, banks.reference_clusters)
        return np.concatenate([own, own.max() + 1 + others])
    labels = np.concatenate([np.asarray(banks.clusters), np.asarray(banks.reference_clusters)])
    return cluster_codes(labels.size, labels)


def _predicted_floor(banks: PairedBanks) -> float | None:
    if min(banks.n, banks.n_reference) < banks.dim:
        return None
    return noise_floor(as_bank(banks.reference).eigenvalues(), banks.n, banks.n_reference)


def _refusal(banks: PairedBanks, full: float, floor: float | None) -> str | None:
    # Plug-in FD holds the floor itself; only what exceeds it is signal.
    biased = floor is not None and banks.estimator is Estimator.PLUG_IN
    signal = full - (floor or 0.0) if biased else full
    if signal > 0.0 and (floor is None or signal >= MIN_FLOOR_RATIO * floor):
        return None
    limit = "0" if floor is None else f"{MIN_FLOOR_RATIO:g} times its noise floor of {floor:.4g}"
    return (
        f"The full-precision FD{' less its floor' if biased else ''} is {signal:.4g}, below "
        f"{limit}, so its ratio means nothing: "
        "read the absolute difference, or use more clips."
    )


def _notes(
    banks: PairedBanks, refused: str | None, ratio: float | None, error: float | None
) -> tuple[str, ...]:
    notes = [refused] if refused else []
    if banks.estimator is Estimator.PLUG_IN:
        notes.append(
            f"{min(banks.n, banks.n_reference)} clips are fewer than {MIN_CLIPS_PER_DIM} × "
            f"{banks.dim} dimensions: FD is plug-in, which pulls the increase towards 0, "
            "and has no interval."
        )
    if banks.estimator is Estimator.PLUG_IN and min(banks.n, banks.n_reference) < banks.dim:
        notes.append("The noise floor is absent: its prediction needs a clip per dimension.")
    if isinstance(banks.reference, ReferenceBank) and (
        banks.reference.n < MIN_REFERENCE_RATIO * banks.n
    ):
        notes.append(
            f"The reference has {banks.reference.n} clips for {banks.n} generated ones; below "
            f"{MIN_REFERENCE_RATIO} times as many its own sampling error is not negligible."
        )
    if ratio is not None and error is not None and ratio < -2.0 * error:
        notes.append(
            f"FD decreased by {-ratio:.2f} %, more than two standard errors; this is not "
            "evidence of better audio: read the distance to full precision beside it."
        )
    return tuple(notes)
