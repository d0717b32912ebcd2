"""How many bytes a model takes before and after."""

import plotly.graph_objects as go

from app.figures.style import FULL, OTHER, styled
from ptq.results import SizeRecord

_MB = 1e6


def sizes(size: SizeRecord, label: str) -> go.Figure:
    """Bars of the whole pipeline, the denoiser's share apart from the other parts'."""
    names = ["32-bit floats", "16-bit floats", f"Quantized ({label})"]
    pipeline, denoiser = size.pipeline, size.denoiser
    whole = [pipeline.fp32_bytes, pipeline.fp16_bytes, pipeline.quantized_bytes]
    inner = [denoiser.fp32_bytes, denoiser.fp16_bytes, denoiser.quantized_bytes]
    figure = go.Figure()
    figure.add_trace(_bars(names, inner, "denoiser", FULL))
    rest = [total - part for total, part in zip(whole, inner, strict=True)]
    figure.add_trace(_bars(names, rest, "text encoder, VAE, vocoder", OTHER))
    for name, total in zip(names, whole, strict=True):
        figure.add_annotation(
            x=total / _MB, y=name, text=f" {total / _MB:.2f} MB", xanchor="left", showarrow=False
        )
    styled(figure, title="Bytes on disk", height=300)
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_xaxes(title_text="MB", range=[0, 1.25 * max(whole) / _MB])
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def _bars(names: list[str], sizes_bytes: list[int], part: str, colour: str) -> go.Bar:
    return go.Bar(
        x=[n_bytes / _MB for n_bytes in sizes_bytes],
        y=names,
        orientation="h",
        name=part,
        marker={"color": colour, "line_width": 0},
        hovertemplate="%{y}, " + part + ": %{x:.2f} MB<extra></extra>",
    )
