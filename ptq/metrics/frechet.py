"""Fréchet distance between two sets of embeddings, its bias, and its influence function.

FD(R, Q) = ‖μR − μQ‖² + tr ΣR + tr ΣQ − 2 tr(ΣR^½ ΣQ ΣR^½)^½ is the squared 2-Wasserstein distance
of the two fitted Gaussians (Heusel et al. 2017, eq. 6; Kilgour et al. 2019 for audio).  With
Σ = FᵀF the last trace is the nuclear norm of F_R F_Qᵀ, which stays exact when there are fewer
clips than dimensions; a matrix square root of the singular product ΣR ΣQ does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from ptq.errors import MetricError
from ptq.metrics.base import Array, as_finite, as_matrix
from ptq.metrics.splits import Labels, half_splits

# Directions whose variance is below this share of the largest carry rounding noise only.
RANK_TOLERANCE = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceBank:
    """A set of embeddings as the Gaussian that the Fréchet distance sees.

    Attributes:
        n: Number of clips behind the statistics.
        mean: Mean embedding, `(dim,)`.
        factor: `(rank, dim)` with covariance (ddof 1) = factor.T @ factor.
    """

    n: int
    mean: Array
    factor: Array

    def __post_init__(self) -> None:
        mean, factor = as_finite(self.mean, "mean"), as_matrix(self.factor, "factor")
        if mean.ndim != 1 or mean.shape[0] != factor.shape[1]:
            raise MetricError(
                f"mean has shape {mean.shape} and factor {factor.shape}; "
                "they must be (dim,) and (rank, dim)."
            )
        if self.n < 2:
            raise MetricError(f"a bank of {self.n} clips has no covariance; use at least 2.")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "factor", factor)

    @classmethod
    def from_embeddings(cls, embeddings: ArrayLike) -> Self:
        """Fit the Gaussian to `(n, dim)` embeddings, one row a clip.

        Raises:
            MetricError: Not a finite matrix of at least 2 rows.
        """
        rows = as_matrix(embeddings, "embeddings", min_rows=2)
        mean = rows.mean(axis=0)
        scaled = (rows - mean) / np.sqrt(rows.shape[0] - 1)
        if rows.shape[0] > rows.shape[1]:
            scaled = linalg.qr(scaled, mode="r")[0][: rows.shape[1]]
        return cls(n=rows.shape[0], mean=mean, factor=scaled)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Read what `to_tensors` wrote.

        Raises:
            MetricError: A tensor is missing or does not fit the others.
        """
        missing = sorted({"n", "mean", "factor"} - tensors.keys())
        if missing:
            raise MetricError(
                f"the reference bank lacks {', '.join(missing)}; write it with to_tensors()."
            )
        return cls(n=int(tensors["n"].item()), mean=tensors["mean"], factor=tensors["factor"])

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """The bank as named arrays, ready for `safetensors.numpy.save_file`."""
        return {"n": np.asarray([self.n], dtype=np.int64), "mean": self.mean, "factor": self.factor}

    @property
    def dim(self) -> int:
        """Embedding dimension."""
        return int(self.mean.shape[0])

    def eigenvalues(self) -> Array:
        """Non-zero part of the covariance spectrum, largest first."""
        values: Array = linalg.svdvals(self.factor) ** 2
        return values


def as_bank(embeddings: ReferenceBank | ArrayLike) -> ReferenceBank:
    """The bank itself, or the bank of `(n, dim)` embeddings."""
    if isinstance(embeddings, ReferenceBank):
        return embeddings
    return ReferenceBank.from_embeddings(embeddings)


def _bank_pair(
    reference: ReferenceBank | ArrayLike, estimate: ReferenceBank | ArrayLike
) -> tuple[ReferenceBank, ReferenceBank]:
    first, second = as_bank(reference), as_bank(estimate)
    if first.dim != second.dim:
        raise MetricError(
            f"reference has {first.dim} dimensions and estimate {second.dim}; "
            "compute both with the same embedder."
        )
    return first, second


def frechet_distance(
    reference: ReferenceBank | ArrayLike, estimate: ReferenceBank | ArrayLike
) -> float:
    """Plug-in Fréchet distance, valid for any number of clips but biased upward.

    Args:
        reference: Bank, or embeddings `(n_ref, dim)`.
        estimate: Bank, or embeddings `(n, dim)`.

    Raises:
        MetricError: A side is not a finite matrix of 2 rows or more, or dimensions differ.
    """
    first, second = _bank_pair(reference, estimate)
    shift = first.mean - second.mean
    overlap = linalg.svdvals(first.factor @ second.factor.T).sum()
    trace = np.square(first.factor).sum() + np.square(second.factor).sum()
    # A squared distance: what lies below zero is rounding of tr − 2·overlap.
    return max(float(shift @ shift + trace - 2.0 * overlap), 0.0)


def noise_floor(eigenvalues: ArrayLike, n: int, m: int) -> float:
    """Expected FD of two samples of one Gaussian: what FD reads when nothing differs.

    Second-order expansion of the Bures distance; holds for n and m of at least about the
    dimension, and overestimates below.

    Args:
        eigenvalues: Covariance spectrum, `(dim,)`.
        n: Clips of one side.
        m: Clips of the other.

    Raises:
        MetricError: Fewer than 2 clips on a side, or a negative eigenvalue.
    """
    spectrum = as_finite(eigenvalues, "eigenvalues").ravel()
    if min(n, m) < 2:
        raise MetricError(f"a noise floor for {n} and {m} clips is undefined; use at least 2.")
    if (spectrum < 0.0).any():
        raise MetricError(f"an eigenvalue is {spectrum.min():.3g}; a covariance has none below 0.")
    spectrum = spectrum[spectrum > 0.0]
    harmonic = np.outer(spectrum, spectrum) / np.add.outer(spectrum, spectrum)
    from_mean = spectrum.sum() * (1.0 / n + 1.0 / m)
    from_covariance = 0.5 * harmonic.sum() + 0.25 * spectrum.sum()
    return float(from_mean + from_covariance * (1.0 / (n - 1) + 1.0 / (m - 1)))


def split_half_fd(
    reference: ReferenceBank | ArrayLike,
    estimate: ArrayLike,
    *,
    clusters: Labels | None = None,
    reference_clusters: Labels | None = None,
    splits: int = 8,
    seed: int = 0,
) -> float:
    """FD∞ = 2·FD_N − ½(FD_a + FD_b), averaged over random halves without replacement.

    The plug-in bias falls as 1/N (Chong & Forsyth 2020), so this combination cancels it.  A
    reference given as embeddings is halved too; of a bank only the statistics are known and its
    own share of the bias stays, which is small from ten times the estimate's clips on.  The
    result is unbiased and may therefore be negative near zero.

    Args:
        reference: Bank, or embeddings `(n_ref, dim)`.
        estimate: Embeddings `(n, dim)`; n >= 4·dim is recommended.
        clusters: Prompt of every estimated clip.
        reference_clusters: Prompt of every reference clip.
        splits: Number of splits, 4 or more.
        seed: Seed of the splits; share it between banks that are compared.

    Raises:
        MetricError: Invalid embeddings, labels or splits.
    """
    rows = as_matrix(estimate, "estimate", min_rows=4)
    halves = half_splits(rows.shape[0], clusters=clusters, splits=splits, seed=seed)
    if isinstance(reference, ReferenceBank):
        half_references = [(reference, reference)] * splits
    else:
        anchors = as_matrix(reference, "reference", min_rows=4)
        half_references = [
            (as_bank(anchors[a]), as_bank(anchors[b]))
            for a, b in half_splits(
                anchors.shape[0], clusters=reference_clusters, splits=splits, seed=seed
            )
        ]
    of_halves = [
        frechet_distance(half_reference, rows[index])
        for pair, references in zip(halves, half_references, strict=True)
        for index, half_reference in zip(pair, references, strict=True)
    ]
    return 2.0 * frechet_distance(reference, rows) - float(np.mean(of_halves))


def fd_influence(reference: ReferenceBank | ArrayLike, estimate: ArrayLike) -> Array:
    """First-order effect of each estimated clip on FD; sd(ψ)/√n is its standard error.

    ψ(x) = 2(μQ − μR)·(x − μQ) + (x − μQ)ᵀ(I − T)(x − μQ) − tr((I − T)ΣQ), where
    T = ΣQ^−½ (ΣQ^½ ΣR ΣQ^½)^½ ΣQ^−½ carries the estimate's Gaussian onto the reference's
    (Rippl, Munk & Sturm 2016).  Population moments (ddof 0), so that ψ sums to zero.

    Args:
        reference: Bank, or embeddings `(n_ref, dim)`.
        estimate: Embeddings `(n, dim)`.

    Returns:
        ψ of every estimated clip, `(n,)`, in units of FD.

    Raises:
        MetricError: Invalid embeddings, dimensions that differ, or clips that are all equal.
    """
    rows = as_matrix(estimate, "estimate", min_rows=2)
    target, bank = _bank_pair(reference, rows)
    spread, axes = linalg.svd(bank.factor, full_matrices=False)[1:]
    kept = spread > np.sqrt(RANK_TOLERANCE) * spread[0]
    if not kept.any():
        raise MetricError("all estimated clips have one embedding; FD has no influence function.")
    # In the principal axes of the estimate ΣQ is diagonal and T needs no matrix root of it.
    axes, spread = axes[kept], spread[kept] * np.sqrt(1.0 - 1.0 / bank.n)
    projected = target.factor @ axes.T * np.sqrt(1.0 - 1.0 / target.n)
    left, overlap = linalg.svd(spread[:, None] * projected.T, full_matrices=False)[:2]
    scaled = left / spread[:, None]
    transport = (scaled * overlap) @ scaled.T
    centred = rows - bank.mean
    coordinates = centred @ axes.T
    gap = np.eye(spread.size) - transport
    quadratic = np.einsum("ni,ij,nj->n", coordinates, gap, coordinates, optimize=True)
    linear = 2.0 * centred @ (bank.mean - target.mean)
    psi: Array = linear + quadratic - quadratic.mean()
    return psi
