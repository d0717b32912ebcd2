"""The activations of one layer, with the levels that they are rounded to."""

import numpy as np
import plotly.graph_objects as go

from app.activations import SiteActivations
from app.figures.style import FAINT, FULL, QUANTIZED, styled

_MOST_LINES = 32  # beyond, levels are ticks on the axis: lines would fill the figure


def histogram(site: SiteActivations) -> go.Figure:
    """Share of values in 256 bins on a log scale, the levels, and what is cut off at both ends."""
    figure = go.Figure()
    figure.add_trace(
        go.Bar(
            x=site.centres.astype(np.float32),
            y=(site.shares * 100.0).astype(np.float32),
            name="values seen in calibration",
            marker={"color": FULL, "line_width": 0},
            opacity=0.75,
            hovertemplate="%{x:.3g}: %{y:.3g} %<extra></extra>",
        )
    )
    if site.levels is not None:
        _add_levels(figure, site)
    styled(figure, title=_title(site), height=380)
    figure.update_layout(bargap=0)
    figure.update_yaxes(type="log", title_text="% of values", dtick=1, tickformat="~g")
    figure.update_xaxes(title_text="activation value")
    return figure


def _title(site: SiteActivations) -> str:
    if site.levels is None:
        return "Activations (kept in float, or given a range at run time)"
    levels = f"{site.bits} bits: {len(site.levels)} levels"
    if site.clipped_pct is None:
        return f"{levels}; calibration saw nothing in this part"
    return f"{levels}, {site.clipped_pct:.3g} % of values clipped"


def _add_levels(figure: go.Figure, site: SiteActivations) -> None:
    levels = site.levels
    if levels is None:
        return
    few = len(levels) <= _MOST_LINES
    seen = site.shares[site.shares > 0]
    floor = float(seen.min()) * 100.0 if len(seen) else 1e-6
    figure.add_trace(
        go.Scatter(
            x=levels.astype(np.float32),
            y=np.full(len(levels), floor, dtype=np.float32),
            mode="markers",
            name="quantization levels",
            marker={
                "symbol": "line-ns-open",
                "size": 12 if few else 8,
                "color": QUANTIZED,
                "line_width": 1.2,
            },
            hovertemplate="level %{x:.4g}<extra></extra>",
        )
    )
    for level in levels if few else ():
        figure.add_vline(x=float(level), line={"color": QUANTIZED, "width": 0.6}, opacity=0.5)
    _shade_clipped(figure, site)


def _shade_clipped(figure: go.Figure, site: SiteActivations) -> None:
    if site.levels is None:
        return
    # What lies within half a step of the last level is rounded to it, as to any other.
    low, high = float(site.levels[0]) - site.step / 2, float(site.levels[-1]) + site.step / 2
    for edge in (low, high):
        figure.add_vline(x=edge, line={"color": QUANTIZED, "width": 1.6, "dash": "dash"})
    for start, end in ((site.low, low), (high, site.high)):
        if end > start:
            figure.add_vrect(x0=start, x1=end, fillcolor=FAINT, line_width=0, layer="below")
