"""The records of a study: what was measured, with units, and nothing that was not."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ptq.errors import MetricError


@dataclass(frozen=True, kw_only=True)
class Score:
    """One figure with its unit and which way is better.

    Raises:
        MetricError: If the value is not finite; such a value is absent with a reason instead.
    """

    name: str
    value: float
    unit: str
    higher_is_better: bool
    n: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise MetricError(
                f"The score {self.name!r} is {self.value}; leave it out and note the reason."
            )


@dataclass(frozen=True, kw_only=True)
class AdmRecord:
    """Which model was studied."""

    id: str
    family: str
    source: str


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """Which plan was followed; the bits are of the denoiser."""

    name: str
    hash: str
    weight_bits_mean: float


@dataclass(frozen=True, kw_only=True)
class DenoiserSize:
    """Bytes of the denoiser; quantized bytes are those of the packed file."""

    fp32_bytes: int
    fp16_bytes: int
    quantized_bytes: int
    bits_per_weight: float


@dataclass(frozen=True, kw_only=True)
class PipelineSize:
    """Bytes of all parts; the reduction is against fp32."""

    fp32_bytes: int
    fp16_bytes: int
    quantized_bytes: int
    reduction_pct: float


@dataclass(frozen=True, kw_only=True)
class SizeRecord:
    """Sizes, counted over the same parts on both sides."""

    denoiser: DenoiserSize
    pipeline: PipelineSize


@dataclass(frozen=True, kw_only=True)
class CalibrationRecord:
    """What the activation ranges rest on.

    ``coverage`` holds shares of what the calibration prompts name (``sources``, ``families``), how
    they cover a reference that covering ones are chosen by (``near``, ``radius``, ``cells``: see
    ``ptq.prompts.space``), and what the states reach: see ``ptq.calibration.coverage``. Older
    calibrations lack the latter two.
    ``taken_over`` says that the ranges were not measured by the study, but came from another one or
    with the model.
    """

    strategy: str
    prompts: int
    states: int
    manifest: str
    coverage: Mapping[str, float] = field(default_factory=dict)
    taken_over: bool = False


@dataclass(frozen=True, kw_only=True)
class LayerRecord:
    """What happened to one layer.

    ``sqnr_db`` is of its weights, absent where they are kept. ``clipped_pct`` is the share of its
    input that static ranges cut off, in the tenth of the denoising of which they cut off most.
    """

    name: str
    kind: str
    w_bits: int
    a_bits: int
    bytes: int
    executed: str
    sqnr_db: float | None = None
    clipped_pct: float | None = None


@dataclass(frozen=True, kw_only=True)
class FdRecord:
    """Fréchet distances and what may be concluded from them.

    Attributes:
        embedder: What heard the clips.
        estimator: ``split-half``, or ``plug-in`` of fewer clips than have an interval.
        n: Pairs.
        n_ref: Reference clips.
        dim: Dimensions of an embedding.
        full_precision: Distance of the full-precision clips to the reference.
        quantized: Distance of the quantized clips to the reference.
        quantized_vs_full: Distance between both, plug-in.
        verdict: See ``ptq.metrics.verdict``.
        increase_pct: How much further the quantized clips are, in percent of ``full_precision``.
        ci95_pct: Two-sided 95 % interval of that.
        upper95_pct: One-sided 95 % upper bound of that.
        noise_floor: What so many clips of the reference itself would come to.
    """

    embedder: str
    estimator: str
    n: int
    n_ref: int
    dim: int
    full_precision: float
    quantized: float
    quantized_vs_full: float
    verdict: str
    increase_pct: float | None = None
    ci95_pct: tuple[float, float] | None = None
    upper95_pct: float | None = None
    noise_floor: float | None = None


@dataclass(frozen=True, kw_only=True)
class PairedRecord:
    """Medians over pairs of the metrics that compare a clip with its full-precision twin."""

    latent_sqnr_db: float | None = None
    log_mel_l1_db: float | None = None
    lsd_db: float | None = None
    embedding_cosine: float | None = None
    divergence_index: float | None = None


@dataclass(frozen=True, kw_only=True)
class PairRecord:
    """One pair of clips; paths are relative to the run folder."""

    prompt: str
    seed: int
    reference: str
    quantized: str
    paired: PairedRecord
    sqnr_per_step_db: tuple[float, ...] = ()
