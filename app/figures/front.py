"""The Pareto front: the least error that a size can have."""

from collections.abc import Sequence

import plotly.graph_objects as go

from app.budget import FrontPoint
from app.figures.style import FULL, QUANTIZED, styled


def front(points: Sequence[FrontPoint], chosen: int | None = None) -> go.Figure:
    """Sum of the layers' errors over size, one point a plan; the chosen one stands out."""
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=[point.megabytes for point in points],
            y=[point.error for point in points],
            customdata=[point.bits for point in points],
            mode="lines+markers",
            line={"color": FULL, "width": 1.5},
            marker={
                "size": [13 if index == chosen else 8 for index in range(len(points))],
                "color": [QUANTIZED if index == chosen else FULL for index in range(len(points))],
            },
            showlegend=False,
            hovertemplate="%{x:.2f} MB, %{customdata:.2f} bits: %{y:.3g}<extra></extra>",
        )
    )
    styled(figure, title="The best plan of each size", height=320)
    figure.update_xaxes(title_text="all layers, MB")
    figure.update_yaxes(title_text="sum of the layers' errors", type="log", dtick=1)
    return figure
