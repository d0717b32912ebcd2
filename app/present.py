"""View-models: plans, clips and jobs as the components show them. Pure but for reading clips."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.components.ab_player.value import PlayerValue, TrackValue, clip_url
from app.components.fact_table.value import TableValue
from app.components.job_bar.value import JobBarValue
from app.components.layer_grid.value import FLOAT_BITS, GridValue, LayerRow
from app.components.notice.value import NoticeValue, Tone
from app.job import JobSnapshot, JobState
from app.rules import RuleProblem
from ptq.adms.registry import AdmCard
from ptq.audio import match_gain_db, read_clip
from ptq.errors import MetricError
from ptq.layer_spec import DENOISER, LayerInfo, LayerSpec
from ptq.plan import QuantPlan, fp_size_bytes
from ptq.prompts.vocabulary import UnknownWord
from ptq.report_markdown import megabytes
from ptq.scheme import ACTIVATION_BITS, KEEP, WEIGHT_BITS
from ptq.study_events import Stage

PLAN_LABELS = {
    "fp": "Full precision",
    "w8a8": "8-bit everything (W8A8)",
    "ptq4adm": "4 and 8 bits (PTQ4ADM)",
    "w3a8": "3-bit weights (W3A8)",
}
_STAGES = {
    Stage.PLAN.value: "Planning",
    Stage.REFERENCE.value: "Full-precision clips",
    Stage.CALIBRATE.value: "Calibrating: watching activations",
    Stage.QUANTIZE.value: "Quantizing the weights",
    Stage.ESTIMATE.value: "Quantized clips",
    Stage.SECOND_SEED.value: "Full precision again, other seed",
    Stage.SCORE.value: "Scoring",
    Stage.REPORT.value: "Writing the report",
}


def adm_title(card: AdmCard) -> str:
    """What a list of models shows."""
    return f"{card.id} ({card.state.value}, {megabytes(card.size_bytes)})"


def grid_value(
    plan: QuantPlan, layers: Sequence[LayerInfo], sensitivity: Mapping[str, float] | None = None
) -> GridValue:
    """The rows of the layer grid, with how much each layer minds where that is known."""
    infos = {info.name: info for info in layers}
    rows = [_row(spec, infos[spec.name]) for spec in plan.layers]
    for row in rows:
        if sensitivity is not None and row["name"] in sensitivity:
            row["sensitivity"] = sensitivity[row["name"]]
    return {
        "rows": rows,
        "options": {
            "weight_bits": [*WEIGHT_BITS, FLOAT_BITS],
            "activation_bits": [*(bits for bits in ACTIVATION_BITS if bits < 16), FLOAT_BITS],
        },
    }


def _row(spec: LayerSpec, info: LayerInfo) -> LayerRow:
    weight, activation = spec.scheme.weight, spec.scheme.activation
    return {
        "name": spec.name,
        "kind": info.kind.value,
        "weight_bits": weight.bits if weight else FLOAT_BITS,
        "activation_bits": activation.bits if activation else FLOAT_BITS,
        "bytes": spec.bytes_stored(info),
    }


def plan_summary(plan: QuantPlan, layers: Sequence[LayerInfo]) -> TableValue:
    """Size and average bits, by arithmetic: nothing has run yet."""
    full, small = fp_size_bytes(layers), plan.size_bytes(layers)
    kept = sum(LayerSpec(name=info.name, scheme=KEEP).bytes_stored(info) for info in layers)
    bits = plan.weight_bits_mean(layers, DENOISER)
    rows = [
        [
            "All layers, from 32-bit floats",
            f"{megabytes(full)} → {megabytes(small)} ({_change(small, full)})",
        ],
        ["As they are stored unquantized", f"{megabytes(kept)} ({_change(small, kept)})"],
        ["Bits per weight in the denoiser", f"{bits:.2f} on average"],
        ["Layers quantized", f"{len(plan.quantized)} of {len(plan.layers)}"],
    ]
    return {
        "rows": rows,
        "note": "Counted from the plan; a run reports the bytes on disk.",
    }


def _change(small: int, full: int) -> str:
    return f"{100 * (small / full - 1):+.0f} %"


def rule_notice(problems: Sequence[RuleProblem]) -> NoticeValue:
    """What is wrong with the rules, line by line; nothing where all is well."""
    if not problems:
        return {}
    lines = [f"Line {p.line}: {p.message}" if p.line else p.message for p in problems]
    return {"tone": Tone.ERROR, "title": "The rules cannot be followed yet", "lines": lines}


def word_notice(unknown: Sequence[UnknownWord]) -> NoticeValue:
    """Words that the embedded model does not know; nothing where it knows all."""
    if not unknown:
        return {}
    return {
        "tone": Tone.WARNING,
        "title": "This small model has never heard of some words and will guess",
        "lines": [_word_line(found) for found in unknown],
    }


def _word_line(found: UnknownWord) -> str:
    if found.nearest is None:
        return f"“{found.word}”: nothing it knows comes near."
    source = found.nearest
    return f"“{found.word}”: the nearest sound it knows is “{source.noun} {source.gerund}”."


def pair_player(full: Path, quantized: Path | None, *, label: str, caption: str) -> PlayerValue:
    """The player of one pair, or of its first half while the second is not there yet."""
    files = [("Full precision", full)]
    if quantized is not None:
        files.append((f"Quantized ({label})", quantized))
    return player(files, caption)


def player(files: Sequence[tuple[str, Path]], caption: str) -> PlayerValue:
    """A player of several versions, the reference first, with gains that match loudness.

    The loudest gain is 0 dB: turning down the louder versions cannot clip a peak.
    """
    gains = [_gain_db(files[0][1], path) for _, path in files]
    highest = max(gains)
    tracks: list[TrackValue] = [
        {"label": label, "url": clip_url(path), "gain_db": round(gain - highest, 2) + 0.0}
        for (label, path), gain in zip(files, gains, strict=True)
    ]
    return {"tracks": tracks, "caption": caption}


@functools.lru_cache(maxsize=1024)
def _gain_db(reference: Path, estimate: Path) -> float:
    if reference == estimate:
        return 0.0
    try:
        return match_gain_db(read_clip(reference), read_clip(estimate))
    except MetricError:
        return 0.0  # a clip that cannot be measured is played as it is


def job_bar(job: JobSnapshot | None) -> JobBarValue:
    """The bar of the visitor's last job."""
    if job is None:
        return {"state": "idle"}
    return {
        "state": "stopping" if job.stopping else job.state.value,
        "stage": _STAGES.get(job.stage, job.stage.capitalize()),
        "done": job.done,
        "total": job.total,
        "elapsed_s": job.elapsed_s,
        "eta_s": job.eta_s if job.done < job.total else None,  # the next stage has not spoken yet
        "message": _message(job),
    }


def _message(job: JobSnapshot) -> str:
    match job.state:
        case JobState.QUEUED:
            before = "1 job is" if job.ahead == 1 else f"{job.ahead} jobs are"
            return f"{before} before yours; it starts by itself." if job.ahead else "Starting…"
        case JobState.DONE:
            return f"{job.label} is finished: open Results."
        case JobState.CANCELLED:
            return "Stopped. What was finished is kept: starting again goes on from there."
        case JobState.FAILED:
            return job.error or ""
    return f"{job.label}. You may reload or close this page; the run goes on."
