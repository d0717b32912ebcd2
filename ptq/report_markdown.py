"""A report as Markdown: what a terminal or a README shows."""

from collections.abc import Iterable, Mapping, Sequence

from ptq.report import Report
from ptq.results import CalibrationRecord

_ABSENT = "n/a"
_ARITHMETIC = "simulated: rounded as the plan says, computed in floating point; the size is real"


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """A figure with its unit, or the sign that it is absent."""
    return _ABSENT if value is None else f"{value:.{digits}f}{unit}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def megabytes(n_bytes: int) -> str:
    """Bytes in MB of a million bytes."""
    return f"{n_bytes / 1e6:.2f} MB"


def summary_rows(report: Report) -> list[tuple[str, str]]:
    """What a study found, as label and value."""
    size, paired, fd = report.size, report.paired, report.fd
    rows = [
        ("model", report.adm.id),
        ("plan", f"{report.plan.name} ({report.plan.weight_bits_mean:.2f} weight bits on average)"),
        (
            "pipeline",
            f"{megabytes(size.pipeline.fp32_bytes)} fp32 → "
            f"{megabytes(size.pipeline.quantized_bytes)} "
            f"({_change(size.pipeline.quantized_bytes, size.pipeline.fp32_bytes)}; "
            f"{_change(size.pipeline.quantized_bytes, size.pipeline.fp16_bytes)} against fp16)",
        ),
        (
            "denoiser",
            f"{megabytes(size.denoiser.fp32_bytes)} fp32 → "
            f"{megabytes(size.denoiser.quantized_bytes)} "
            f"({size.denoiser.bits_per_weight:.2f} bits a weight)",
        ),
        ("arithmetic", _ARITHMETIC),
        ("latent SQNR", number(paired.latent_sqnr_db, 1, " dB")),
        ("log-mel L1", number(paired.log_mel_l1_db, 2, " dB")),
        ("embedding cosine", number(paired.embedding_cosine, 4)),
        ("divergence index", number(paired.divergence_index, 3)),
    ]
    if report.calibration is not None:
        rows.append(_calibration_row(report.calibration))
    if fd is not None:
        interval = (
            ""
            if fd.ci95_pct is None
            else (f", 95 % interval {fd.ci95_pct[0]:+.1f} to {fd.ci95_pct[1]:+.1f} %")
        )
        change = "" if fd.increase_pct is None else f" ({fd.increase_pct:+.1f} %{interval})"
        rows += [
            (
                f"FD ({fd.embedder}, {fd.estimator}, n = {fd.n})",
                f"{fd.full_precision:.4f} → {fd.quantized:.4f}{change}",
            ),
            ("verdict", fd.verdict),
        ]
    return rows


def coverage_text(coverage: Mapping[str, float]) -> str:
    """What a calibration set reaches beside random sets of its size; empty where unmeasured.

    Args:
        coverage: as ``ptq.calibration.coverage.coverage_figures`` has it.
    """
    told = (
        ("range_mean", "{} of the layers' peaks"),
        ("range_least", "{} of the worst covered layer's"),
        ("outlier_channels", "{} of the outlier channels"),
    )
    parts = []
    for key, words in told:
        found, random = coverage.get(key), coverage.get(f"random_{key}")
        if found is not None and random is not None:
            shares = f"{100 * found:.1f} % (random states: {100 * random:.1f} %)"
            parts.append(words.format(shares))
    return f"reach {', '.join(parts)}" if parts else ""


def prompts_text(coverage: Mapping[str, float]) -> str:
    """What calibration prompts cover; empty where that was not measured.

    Args:
        coverage: as ``PromptChoice.coverage`` has it.
    """
    near, cells = coverage.get("near"), coverage.get("cells")
    if near is None or cells is None:
        return ""
    pairs = f"fill {100 * cells:.0f} % of the pairs of family and aspect"
    return f"{pairs}, and closely serve {100 * near:.0f} % of the reference prompts"


def _calibration_row(found: CalibrationRecord) -> tuple[str, str]:
    reach, covered = coverage_text(found.coverage), prompts_text(found.coverage)
    text = f"{found.states} {found.strategy} states of {found.prompts} prompts"
    told = (f"the prompts {covered}" if covered else "", f"the states {reach}" if reach else "")
    return "calibration", "; ".join(each for each in (text, *told) if each)


def _change(after: int, before: int) -> str:
    return f"{100.0 * (after / before - 1.0):+.1f} %".replace("-", "−")


def to_markdown(report: Report) -> str:
    """Summary, pairs, timings and notes."""
    pairs = (
        (
            pair.prompt,
            number(pair.paired.latent_sqnr_db, 1),
            number(pair.paired.log_mel_l1_db, 2),
            number(pair.paired.divergence_index, 3),
            pair.reference,
            pair.quantized,
        )
        for pair in report.pairs
    )
    header = (
        "prompt",
        "latent SQNR (dB)",
        "log-mel L1 (dB)",
        "divergence",
        "reference",
        "quantized",
    )
    sections = [
        f"# {report.adm.id}: {report.plan.name}",
        table(("", ""), summary_rows(report)),
        "## Pairs",
        table(header, pairs),
        "## Timings",
        table(("stage", "seconds"), [(k, f"{v:.1f}") for k, v in report.timings_s.items()]),
        "## Notes",
        "\n".join(f"- {note}" for note in report.notes) or "None.",
    ]
    return "\n\n".join(sections) + "\n"
