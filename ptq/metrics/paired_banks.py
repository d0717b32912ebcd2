"""The embeddings of one study: a reference, and the same clips before and after quantization."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from numpy.typing import NDArray

from ptq.errors import MetricError
from ptq.metrics.base import as_matrix
from ptq.metrics.frechet import ReferenceBank, as_bank, frechet_distance, split_half_fd
from ptq.metrics.splits import Labels, cluster_codes

# Half of the clips must still outnumber the dimensions, or the bias no longer falls as 1/n.
MIN_CLIPS_PER_DIM = 4


class Estimator(Enum):
    """How FD was estimated."""

    PLUG_IN = "plug-in"
    SPLIT_HALF = "split-half"


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedBanks:
    """Embeddings of one study: row i of both banks has the same prompt, seed and noise.

    Attributes:
        reference: Reference bank, or its embeddings `(n_ref, dim)`; embeddings let the bias and
            the interval account for the reference's own sampling error.
        full_precision: Embeddings `(n, dim)` of the full-precision clips.
        quantized: Embeddings `(n, dim)` of the quantized clips.
        clusters: Prompt of every row, `(n,)`; None when each row has a prompt of its own.
        reference_clusters: Prompt of every reference row, for a reference that was generated from
            the same prompts; None when it is independent of them.
    """

    reference: ReferenceBank | NDArray[Any]
    full_precision: NDArray[Any]
    quantized: NDArray[Any]
    clusters: Labels | None = None
    reference_clusters: Labels | None = None

    def __post_init__(self) -> None:
        full = as_matrix(self.full_precision, "full_precision", min_rows=4)
        quantized = as_matrix(self.quantized, "quantized", min_rows=4)
        if full.shape != quantized.shape:
            raise MetricError(
                f"full_precision has shape {full.shape} and quantized {quantized.shape}; "
                "drop a failed clip from both."
            )
        if as_bank(self.reference).dim != full.shape[1]:
            raise MetricError(
                f"the reference has {as_bank(self.reference).dim} dimensions and the clips "
                f"{full.shape[1]}; compute both with the same embedder."
            )
        cluster_codes(full.shape[0], self.clusters)
        object.__setattr__(self, "full_precision", full)
        object.__setattr__(self, "quantized", quantized)

    @property
    def n(self) -> int:
        """Clips per bank."""
        return int(self.full_precision.shape[0])

    @property
    def dim(self) -> int:
        """Embedding dimension."""
        return int(self.full_precision.shape[1])

    @property
    def n_reference(self) -> int:
        """Clips behind the reference."""
        if isinstance(self.reference, ReferenceBank):
            return self.reference.n
        return int(self.reference.shape[0])

    @property
    def estimator(self) -> Estimator:
        """Split-half where both sides have 4 clips per dimension, else plug-in."""
        enough = min(self.n, self.n_reference) >= MIN_CLIPS_PER_DIM * self.dim
        return Estimator.SPLIT_HALF if enough else Estimator.PLUG_IN

    def distances(self, *, splits: int = 8, seed: int = 0) -> tuple[float, float]:
        """FD to the reference of the full-precision and of the quantized bank."""
        banks = (self.full_precision, self.quantized)
        if self.estimator is Estimator.PLUG_IN:
            reference = as_bank(self.reference)
            full, quantized = (frechet_distance(reference, bank) for bank in banks)
        else:
            full, quantized = (
                split_half_fd(
                    self.reference,
                    bank,
                    clusters=self.clusters,
                    reference_clusters=self.reference_clusters,
                    splits=splits,
                    seed=seed,
                )
                for bank in banks
            )
        return full, quantized
