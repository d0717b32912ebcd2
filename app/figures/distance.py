"""The Fréchet distance of every preset, and the visitor's own run beside them."""

from collections.abc import Sequence

import plotly.graph_objects as go

from app.figures.style import FAINT, FULL, INK, QUANTIZED, empty_figure, styled
from app.run_tables import fd_change_pct
from app.shipped_scores import PresetScore, ShippedScores
from ptq.metrics.inference import MARGIN_PCT
from ptq.metrics.paired_banks import Estimator
from ptq.report import Report

_TITLE = "Fréchet distance against full precision"
_ROW_HEIGHT = 38


def distances(scores: ShippedScores | None, report: Report | None) -> go.Figure:
    """One row a preset with its 95 % interval, the noise floor, and the run on a row of its own."""
    figure = go.Figure()
    rows = 0
    presets = [] if scores is None else _with_increase(scores)
    if scores is not None and presets:
        rows += len(presets)
        _add_presets(figure, scores, presets)
    own = None if report is None or report.fd is None else _add_own(figure, report)
    if own is None and not presets:
        return empty_figure(_why_empty(report), title=_TITLE)
    rows += own is not None
    figure.add_vline(x=0.0, line={"color": INK, "width": 1})
    styled(figure, title=_TITLE, height=190 + _ROW_HEIGHT * max(2, rows))
    figure.update_xaxes(title_text="% change; further right is worse")
    figure.update_yaxes(showgrid=False, autorange="reversed")
    return figure


def _why_empty(report: Report | None) -> str:
    if report is None:
        return "No scores ship with this copy yet; a run of your own appears here."
    reasons = (note for note in report.notes if note.lower().startswith("fd"))
    return next(reasons, "This run has no Fréchet distance; its report says why.")


def _with_increase(scores: ShippedScores) -> list[tuple[PresetScore, float]]:
    """Presets whose FD can be set against full precision."""
    return [(p, p.increase_pct) for p in scores.presets if p.increase_pct is not None]


def _add_presets(
    figure: go.Figure, scores: ShippedScores, presets: Sequence[tuple[PresetScore, float]]
) -> None:
    intervals = [preset.ci95_pct or (change, change) for preset, change in presets]
    figure.add_trace(
        go.Scatter(
            x=[change for _, change in presets],
            y=[preset.name for preset, _ in presets],
            mode="markers",
            name=f"presets, {scores.n} pairs, 95 % interval",
            marker={"color": FULL, "size": 10},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [
                    high - change for (_, change), (_, high) in zip(presets, intervals, strict=True)
                ],
                "arrayminus": [
                    change - low for (_, change), (low, _) in zip(presets, intervals, strict=True)
                ],
                "color": FULL,
                "thickness": 1.6,
            },
            text=[preset.verdict for preset, _ in presets],
            hovertemplate="%{y}: %{x:+.1f} %, %{text}<extra></extra>",
        )
    )
    if scores.noise_floor_pct is not None:
        floor = scores.noise_floor_pct
        figure.add_vrect(x0=-floor, x1=floor, fillcolor=FAINT, line_width=0, layer="below")
        figure.add_annotation(
            text="floor without pairs", x=0, y=1, yref="paper", yanchor="bottom", showarrow=False
        )
    figure.add_vline(
        MARGIN_PCT, line_dash="dash", line_width=1, line_color=FULL, annotation_text="margin"
    )


def _add_own(figure: go.Figure, report: Report) -> str | None:
    fd = report.fd
    change = None if fd is None else fd_change_pct(fd)
    if fd is None or change is None:
        return None
    few = ", too few clips to resolve" if fd.estimator == Estimator.PLUG_IN.value else ""
    remark = f"n = {fd.n}{few}"
    name = f"this run: {report.plan.name}"
    low, high = fd.ci95_pct or (change, change)
    figure.add_trace(
        go.Scatter(
            x=[change],
            y=[name],
            mode="markers+text",
            name=f"this run ({remark})",
            text=[f"  {remark}"],
            textposition="top center",
            marker={
                "color": QUANTIZED,
                "size": 13,
                "symbol": "diamond-open" if fd.ci95_pct is None else "diamond",
                "line_width": 2,
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - change],
                "arrayminus": [change - low],
                "color": QUANTIZED,
                "visible": fd.ci95_pct is not None,
            },
            hovertemplate="%{x:+.1f} %<extra></extra>",
        )
    )
    return name
