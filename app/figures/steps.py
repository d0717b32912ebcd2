"""How the error of the latents grows from denoising step to denoising step."""

from collections.abc import Sequence

import plotly.graph_objects as go

from app.figures.style import INK, QUANTIZED, empty_figure, styled
from ptq.results import PairRecord

_TITLE = "How the two versions part, step by step"


def step_errors(pairs: Sequence[PairRecord], chosen: int) -> go.Figure:
    """SQNR of the latents after each step: the chosen pair, with all others grey behind it."""
    if not pairs[chosen].sqnr_per_step_db:
        return empty_figure("Both trajectories are identical, or not recorded.", title=_TITLE)
    figure = go.Figure()
    for index, pair in enumerate(pairs):
        if index != chosen and pair.sqnr_per_step_db:
            figure.add_trace(_line(pair, "other prompts", INK, shown=False))
    figure.add_trace(_line(pairs[chosen], "this prompt", QUANTIZED, shown=True))
    others = " (grey: other prompts)" if len(figure.data) > 1 else ""
    styled(figure, title=_TITLE + others, height=340)
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text="denoising step")
    figure.update_yaxes(title_text="SQNR, dB (higher is closer)")
    return figure


def _line(pair: PairRecord, name: str, colour: str, *, shown: bool) -> go.Scatter:
    values = list(pair.sqnr_per_step_db)
    return go.Scatter(
        x=list(range(1, len(values) + 1)),
        y=values,
        name=name,
        mode="lines+markers" if shown else "lines",
        line={"color": colour, "width": 2.4 if shown else 1.2},
        marker={"size": 5},
        hovertemplate="step %{x}: %{y:.1f} dB<extra></extra>" if shown else None,
        hoverinfo=None if shown else "skip",
    )
