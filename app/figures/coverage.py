"""What calibration covers: prompts on a map, and each layer's range."""

import html
from collections.abc import Mapping

import plotly.graph_objects as go

from app.figures.style import FULL, INK, QUANTIZED, empty_figure, styled
from app.prompt_map import PromptPoints

_TITLE_RANGES = "How much of each layer's range calibration saw"
_UNMEASURED = "Not measured: only activation-aware and density-diversity calibration do."
_RANDOM = {"random_range_mean": "mean of the layers", "random_range_least": "worst layer"}
_MOST_CHARACTERS = 60


def prompt_map(usual: PromptPoints, calibration: PromptPoints, own: PromptPoints) -> go.Figure:
    """Where prompts lie in the model's own text embedding, in its two widest directions."""
    figure = go.Figure()
    for points, name, colour, size in (
        (usual, "what it is usually asked", INK, 4),
        (calibration, "calibration", FULL, 9),
        (own, "this run", QUANTIZED, 9),
    ):
        figure.add_trace(
            go.Scattergl(
                x=points.at[:, 0],
                y=points.at[:, 1],
                mode="markers",
                name=name,
                marker={"color": colour, "size": size, "opacity": 0.4 if size < 9 else 0.9},
                text=[_shown(text) for text in points.texts],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    styled(figure, title="Prompts, as the model reads them", height=360)
    figure.update_xaxes(showticklabels=False, zeroline=False)
    figure.update_yaxes(showticklabels=False, zeroline=False)
    return figure


def _shown(text: str) -> str:
    """A visitor's text in a figure: short, and no markup."""
    short = text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
    return html.escape(short) or "(nothing)"


def range_coverage(shares: Mapping[str, float], coverage: Mapping[str, float]) -> go.Figure:
    """Each layer's peak over the calibration states, as a share of its peak over all recorded.

    Args:
        shares: By layer.
        coverage: Figures of the whole set, of which those of random states are drawn beside it.
    """
    if not shares:
        return empty_figure(_UNMEASURED, title=_TITLE_RANGES)
    names = list(shares)
    figure = go.Figure(
        go.Scatter(
            x=list(range(1, len(names) + 1)),
            y=[100.0 * shares[name] for name in names],
            text=names,
            mode="markers",
            marker={"color": FULL, "size": 6},
            showlegend=False,
            hovertemplate="%{text}: %{y:.0f} %<extra></extra>",
        )
    )
    for key, words in _RANDOM.items():
        if key not in coverage:
            continue
        figure.add_hline(
            100.0 * coverage[key],
            line={"color": QUANTIZED, "dash": "dot"},
            annotation_text=f"random states, {words}",
            annotation_position="bottom right",
        )
    styled(figure, title=_TITLE_RANGES, height=360)
    figure.update_xaxes(title_text="layer, in the order of the network")
    figure.update_yaxes(title_text="% of the peak", range=[0, 105])
    return figure
