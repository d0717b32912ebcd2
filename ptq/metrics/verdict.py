"""Whether a quantized model may be called as good as full precision: the frozen decision rule.

FD alone never decides, because a worse model can have a lower FD: the rule also asks for the
distance to full precision, the text score, the divergence of pairs, defects, and every sound
family.  "Not resolved" is an answer of its own, and the usual one for few clips.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum

from ptq.errors import MetricError
from ptq.metrics.inference import MARGIN_PCT
from ptq.metrics.paired_banks import MIN_CLIPS_PER_DIM

MIN_TEXT_SCORE_PCT = -2.0
MAX_DIVERGENCE_INDEX = 0.5
MAX_FAMILY_INCREASE_PCT = 15.0


class Verdict(Enum):
    """Outcome of a non-inferiority study."""

    NON_INFERIOR = "non-inferior"
    INFERIOR = "inferior"
    NOT_RESOLVED = "not resolved"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Figures the verdict rests on; None is a figure that could not be computed.

    Attributes:
        n: Prompts: clips of one prompt are alike.
        dim: Embedding dimension.
        lower95_pct: Lower end of the 95 % interval of the FD increase.
        upper95_pct: One-sided 95 % upper bound of the FD increase.
        self_fd_upper_pct: Upper bound of FD(Q, FP-B) − FD(FP-A, FP-B), in percent of
            FD∞(FP-A, R).
        text_score_lower_pct: Lower bound of the relative change of the text score.
        divergence_index: Median divergence index over prompts.
        new_silent: Quantized clips that are silent where full precision is not.
        new_clipped: Quantized clips that clip where full precision does not.
        new_nan: Quantized clips with NaN where full precision has none.
        family_increase_pct: FD increase of every sound family, see ``ptq.metrics.projected``.
    """

    n: int
    dim: int
    lower95_pct: float | None
    upper95_pct: float | None
    self_fd_upper_pct: float | None
    text_score_lower_pct: float | None
    divergence_index: float | None
    new_silent: int | None
    new_clipped: int | None
    new_nan: int | None
    family_increase_pct: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        figures = {f.name: getattr(self, f.name) for f in fields(self)}
        figures |= figures.pop("family_increase_pct")
        for name, value in figures.items():
            if value is not None and value != value:
                raise MetricError(f"{name} is NaN; give None for what could not be computed.")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict and why it is not better: one sentence for every gate that failed."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()


def judge(evidence: Evidence) -> Judgement:
    """Apply the rule: all gates pass, or the FD increase is surely above 5 %, or neither."""
    if evidence.n < MIN_CLIPS_PER_DIM * evidence.dim:
        return Judgement(
            verdict=Verdict.NOT_RESOLVED,
            reasons=(
                f"{evidence.n} prompts are fewer than {MIN_CLIPS_PER_DIM} × {evidence.dim} "
                "dimensions, too few for an interval of the FD increase.",
                *_failed_gates(evidence),
            ),
        )
    failed = tuple(_failed_gates(evidence))
    lower = evidence.lower95_pct
    if lower is not None and lower > MARGIN_PCT:
        sentence = (
            f"FD rose by at least {lower:.2f} % (lower end of the 95 % interval), "
            f"more than the {MARGIN_PCT:g} % margin."
        )
        return Judgement(verdict=Verdict.INFERIOR, reasons=(sentence, *failed))
    if failed:
        return Judgement(verdict=Verdict.NOT_RESOLVED, reasons=failed)
    return Judgement(verdict=Verdict.NON_INFERIOR)


def _failed_gates(evidence: Evidence) -> Iterator[str]:
    yield from _below(
        "The upper bound of the FD increase", evidence.upper95_pct, MARGIN_PCT, unit=" %"
    )
    yield from _below(
        "The upper bound of the FD to full precision beyond that of another seed",
        evidence.self_fd_upper_pct,
        MARGIN_PCT,
        unit=" %",
    )
    yield from _text_gate(evidence.text_score_lower_pct)
    yield from _at_most(
        "The median divergence index", evidence.divergence_index, MAX_DIVERGENCE_INDEX
    )
    for defect, count in (
        ("silent", evidence.new_silent),
        ("clipped", evidence.new_clipped),
        ("NaN", evidence.new_nan),
    ):
        yield from _at_most(f"The number of new {defect} clips", count, 0)
    if not evidence.family_increase_pct:
        yield "The FD increase of the sound families was not measured."
    for family, increase in evidence.family_increase_pct.items():
        yield from _at_most(
            f"The FD increase of the sound family {family}",
            increase,
            MAX_FAMILY_INCREASE_PCT,
            unit=" %",
        )


def _below(what: str, value: float | None, limit: float, *, unit: str = "") -> Iterator[str]:
    if value is None:
        yield f"{what} was not measured."
    elif value >= limit:
        yield f"{what} is {value:.4g}{unit}, not below {limit:g}{unit}."


def _at_most(what: str, value: float | None, limit: float, *, unit: str = "") -> Iterator[str]:
    if value is None:
        yield f"{what} was not measured."
    elif value > limit:
        yield f"{what} is {value:.4g}{unit}, above {limit:g}{unit}."


def _text_gate(lower_pct: float | None) -> Iterator[str]:
    what = "The lower bound of the change of the text score"
    if lower_pct is None:
        yield f"{what} was not measured."
    elif lower_pct < MIN_TEXT_SCORE_PCT:
        yield f"{what} is {lower_pct:.4g} %, below {MIN_TEXT_SCORE_PCT:g} %."
