"""The look that all figures share: no background, and colours that hold on light and on dark.

The colour of text and grid lines is set by the page's style sheet, which knows the theme.
"""

import textwrap
from typing import Any

import plotly.graph_objects as go

FULL = "#3b82f6"
QUANTIZED = "#d9661f"
OTHER = "#14a08d"
INK = "#8a909c"
FAINT = "rgba(138,144,156,0.28)"
_EMPTY_HEIGHT = 220
_TITLE_CHARACTERS = 34  # what a phone shows in one line
_CLEAR = "rgba(0,0,0,0)"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


def styled(figure: go.Figure, *, title: str, height: int) -> go.Figure:
    """Give a figure the common look, in place, and return it."""
    lines = textwrap.wrap(title, _TITLE_CHARACTERS)
    has_legend = sum(trace.showlegend is not False for trace in figure.data) > 1
    figure.update_layout(
        title={
            "text": "<br>".join(lines),
            "x": 0.0,
            "xanchor": "left",
            "xref": "container",
            "y": 1.0,
            "yanchor": "top",
            "yref": "container",
            "font_size": 15,
            "pad": {"l": 16, "t": 14},
        },
        height=height,
        margin={"l": 56, "r": 16, "t": 30 + 20 * len(lines), "b": 92 if has_legend else 48},
        paper_bgcolor=_CLEAR,
        plot_bgcolor=_CLEAR,
        font={"family": _FONT, "size": 13, "color": INK},
        legend={
            "orientation": "h",
            "x": 0,
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
            "bgcolor": _CLEAR,
        },
        hoverlabel={"font_family": _FONT},
        dragmode=False,
        template="none",
    )
    axis: dict[str, Any] = {"gridcolor": FAINT, "zerolinecolor": FAINT, "linecolor": FAINT}
    figure.update_xaxes(**axis, automargin=True, title_font_size=12)
    figure.update_yaxes(**axis, automargin=True, title_font_size=12)
    return figure


def empty_figure(text: str, *, title: str) -> go.Figure:
    """A figure that says why there is nothing to draw."""
    figure = go.Figure()
    figure.add_annotation(text=text, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    styled(figure, title=title, height=_EMPTY_HEIGHT)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure
