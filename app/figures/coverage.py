"""What calibration covers: prompts on a map, and each layer's range."""

import html
import math
from collections.abc import Mapping

import plotly.graph_objects as go

from app.figures.style import FULL, INK, QUANTIZED, empty_figure, styled
from app.prompt_map import PromptPoints

_TITLE_RANGES = "How much of each layer's range calibration saw"
_UNMEASURED = "Not measured: this run has no calibration, or an older or unusual one."
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


def range_coverage(shares: Mapping[str, float], random: Mapping[str, float]) -> go.Figure:
    """Each layer's peak over the calibration states, as a share of its peak over all recorded.

    Args:
        shares: By layer.
        random: The same of random sets of as many states; empty in runs that lack it.
    """
    if not shares:
        return empty_figure(_UNMEASURED, title=_TITLE_RANGES)
    places = {name: place for place, name in enumerate(shares, start=1)}
    figure = go.Figure()
    for found, name, colour in (
        (random, "random states, on average", QUANTIZED),
        (shares, "calibration", FULL),
    ):
        figure.add_trace(
            go.Scatter(
                x=[places[layer] for layer in found],
                y=[100.0 * share for share in found.values()],
                text=list(found),
                mode="markers",
                marker={"color": colour, "size": 6},
                name=name,
                showlegend=bool(random),
                hovertemplate="%{text}: %{y:.0f} %<extra>%{fullData.name}</extra>",
            )
        )
    styled(figure, title=_TITLE_RANGES, height=360)
    figure.update_xaxes(title_text="layer, in the order of the network")
    # What tells the two apart lies in the last percents: the axis begins below the worst layer.
    least = 10.0 * math.floor(10.0 * min((*shares.values(), *random.values(), 0.9)))
    figure.update_yaxes(title_text="% of the peak", range=[least, 100.0 + 0.05 * (100.0 - least)])
    return figure
