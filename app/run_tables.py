"""Tables about runs: what was found, pair by pair, and all runs of a visitor."""

from collections.abc import Mapping, Sequence

from app.components.fact_table.value import TableValue
from app.components.notice.value import NoticeValue, Tone
from app.finished_run import FinishedRun
from app.gallery import GalleryItem
from app.job import JobSnapshot, JobState
from app.present import PLAN_LABELS
from ptq.metrics.inference import MARGIN_PCT
from ptq.metrics.paired_banks import Estimator
from ptq.report_markdown import megabytes, number
from ptq.results import FdRecord, PairedRecord

_PAIRED = (
    ("latent_sqnr_db", "Latent SQNR, dB", 1),
    ("log_mel_l1_db", "Log-mel gap, dB", 2),
    ("lsd_db", "Spectral gap, dB", 2),
    ("embedding_cosine", "Embedding cosine", 3),
    ("divergence_index", "Divergence", 2),
)
_PAIRED_NOTE = (
    "SQNR: signal over quantization error, higher is closer. Gaps: lower is closer. Divergence: "
    "0 is the same clip, 1 is as different as another seed."
)
_STATES = {
    JobState.QUEUED: "waiting",
    JobState.RUNNING: "running",
    JobState.DONE: "done",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "stopped",
}


def gallery_table(item: GalleryItem, plans: Sequence[str]) -> TableValue:
    """The figures of one gallery item, a row for each version."""
    rows = [_gallery_row(plan, item.paired[plan]) for plan in plans if plan in item.paired]
    return {
        "caption": "How far each version is from full precision",
        "columns": ["Version", *(title for _, title, _ in _PAIRED)],
        "rows": rows,
        "note": _PAIRED_NOTE,
    }


def _gallery_row(plan: str, figures: Mapping[str, float]) -> list[str]:
    cells = (number(figures.get(key), digits) for key, _, digits in _PAIRED)
    return [PLAN_LABELS.get(plan, plan), *cells]


def paired_table(run: FinishedRun) -> TableValue:
    """The paired metrics of every prompt, and their medians."""
    rows = [[pair.prompt, *_cells(pair.paired)] for pair in run.report.pairs]
    if len(rows) > 1:
        rows.append(["Median", *_cells(run.report.paired)])
    return {
        "caption": "Each pair: same prompt, same noise, full precision against quantized",
        "columns": ["Prompt", *(title for _, title, _ in _PAIRED)],
        "rows": rows,
        "note": _PAIRED_NOTE,
    }


def _cells(paired: PairedRecord) -> list[str]:
    return [number(getattr(paired, key), digits) for key, _, digits in _PAIRED]


def summary_table(run: FinishedRun) -> TableValue:
    """What a run found, in a few rows."""
    report, pipeline = run.report, run.report.size.pipeline
    denoiser = report.size.denoiser
    rows = [
        ["Plan", f"{report.plan.name} ({report.plan.weight_bits_mean:.2f} weight bits on average)"],
        [
            "Whole model",
            f"{megabytes(pipeline.fp32_bytes)} → {megabytes(pipeline.quantized_bytes)} "
            f"({-pipeline.reduction_pct:+.0f} %)",
        ],
        [
            "Denoiser",
            f"{megabytes(denoiser.fp32_bytes)} → {megabytes(denoiser.quantized_bytes)} "
            f"({denoiser.bits_per_weight:.2f} bits a weight with scales)",
        ],
        ["Time", f"{sum(report.timings_s.values()):.0f} s on this machine, simulated arithmetic"],
    ]
    if report.fd is not None:
        rows.append([f"Fréchet distance ({report.fd.embedder})", _fd_text(report.fd)])
    return {"caption": run.title, "rows": rows}


def _fd_text(fd: FdRecord) -> str:
    change = "" if fd.increase_pct is None else f", {fd.increase_pct:+.1f} %"
    return f"{fd.full_precision:.3g} → {fd.quantized:.3g}{change} (n = {fd.n}, {fd.estimator})"


def verdict_notice(run: FinishedRun) -> NoticeValue:
    """What may be concluded, in words, with the reasons."""
    fd = run.report.fd
    if fd is None:
        return {"tone": Tone.INFO, "title": "No verdict", "lines": list(run.report.notes)}
    titles = {
        "non-inferior": (
            Tone.GOOD,
            f"Non-inferior: the distance rose by less than {MARGIN_PCT:g} %",
        ),
        "inferior": (Tone.WARNING, f"Inferior: the distance rose by more than {MARGIN_PCT:g} %"),
    }
    if fd.ci95_pct is not None:
        why = "not every gate was passed"
    elif fd.estimator == Estimator.PLUG_IN.value:
        why = f"{fd.n} clips are too few"
    else:
        why = "the change of the distance cannot be told in percent"
    tone, title = titles.get(fd.verdict, (Tone.INFO, f"Not resolved: {why}"))
    return {"tone": tone, "title": title, "lines": list(run.report.notes)}


def runs_table(jobs: Sequence[JobSnapshot], runs: Sequence[FinishedRun]) -> TableValue:
    """All runs of a visitor, newest first, then the example."""
    finished = {run.id: run for run in runs}
    rows = [_run_row(job.label, _STATES[job.state], finished.get(job.id)) for job in jobs]
    rows += [_run_row(run.title, "example", run) for run in runs if run.is_example]
    return {
        "caption": "Your runs",
        "columns": [
            "Run",
            "State",
            "Weight bits",
            "Size",
            "SQNR, dB",
            "Log-mel gap, dB",
            "FD, %",
            "n",
        ],
        "rows": rows,
        "empty": "No run yet. Choose bits in Configure, then start one in Run.",
    }


def _run_row(title: str, state: str, run: FinishedRun | None) -> list[str]:
    if run is None:
        return [title, state, *["–"] * 6]
    report = run.report
    return [
        title,
        state,
        f"{report.plan.weight_bits_mean:.2f}",
        megabytes(report.size.pipeline.quantized_bytes),
        number(report.paired.latent_sqnr_db, 1),
        number(report.paired.log_mel_l1_db, 2),
        "–" if report.fd is None else number(fd_change_pct(report.fd), 1),
        str(len(report.pairs)),
    ]


def fd_change_pct(fd: FdRecord) -> float | None:
    """Change of the FD by quantization; from the plug-in distances where nothing better exists."""
    if fd.increase_pct is not None or fd.full_precision <= 0:
        return fd.increase_pct
    return 100.0 * (fd.quantized / fd.full_precision - 1.0)
