"""Spectrograms of both clips of a pair, and of their difference."""

import librosa
import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from app.figures.style import styled
from ptq.audio import AudioClip
from ptq.metrics.spectral import MEL_LOWEST_HZ, log_mel_db

N_MELS = 64
_MAX_FRAMES = 400
_RANGE_DB = 70
_DIFFERENCE_DB = 20
_TICKS_HZ = (125, 500, 1000, 2000, 4000, 8000, 16000)
# Blue where quantization took energy away, orange where it added some; nothing in between.
_DIVERGING = (
    (0.0, "rgba(37,99,235,1)"),
    (0.5, "rgba(128,128,128,0.10)"),
    (1.0, "rgba(234,88,12,1)"),
)


def spectrograms(full: AudioClip, quantized: AudioClip, label: str) -> go.Figure:
    """Log-mel spectrograms in dB, one above the other; the difference is quantized minus full."""
    levels_db = [_levels_db(clip) for clip in (full, quantized)]
    frames = min(level.shape[1] for level in levels_db)
    first, second = (level[:, :frames] for level in levels_db)
    top = float(max(first.max(), second.max()))
    figure = make_subplots(
        rows=3,
        shared_xaxes=True,
        vertical_spacing=0.09,
        subplot_titles=("Full precision", f"Quantized ({label})", "Difference: quantized − full"),
    )
    times_s = np.linspace(0.0, full.seconds, frames, dtype=np.float32)
    for row, level in enumerate((first, second), start=1):
        figure.add_trace(_heatmap(level, times_s, "coloraxis"), row=row, col=1)
    figure.add_trace(_heatmap(second - first, times_s, "coloraxis2"), row=3, col=1)
    styled(figure, title="What you hear, as a picture", height=640)
    figure.update_layout(
        coloraxis=_scale("Magma", top - _RANGE_DB, top, (1.0, 0.66)),
        coloraxis2=_scale(_DIVERGING, -_DIFFERENCE_DB, _DIFFERENCE_DB, (0.28, 0.3)),
        margin={"t": 72, "b": 48},
    )
    ticks = [hz for hz in _TICKS_HZ if hz < full.sample_rate_hz / 2]
    figure.update_yaxes(
        tickvals=_mel_places(ticks, full.sample_rate_hz), ticktext=[_hz(hz) for hz in ticks]
    )
    figure.update_xaxes(title_text="seconds", row=3, col=1)
    return figure


def _levels_db(clip: AudioClip) -> NDArray[np.float64]:
    """Log-mel levels, (mels, frames), with few enough frames for a screen."""
    levels = log_mel_db(clip.samples.astype(np.float64), sample_rate_hz=clip.sample_rate_hz)
    width = -(-len(levels) // _MAX_FRAMES)
    whole = len(levels) // width * width
    averaged: NDArray[np.float64] = levels[:whole].reshape(-1, width, N_MELS).mean(axis=1).T
    return averaged


def _heatmap(levels_db: NDArray[np.float64], times_s: NDArray[np.float32], axis: str) -> go.Heatmap:
    # Whole decibels in one byte each: no eye sees finer, and the figure is a quarter of the size.
    whole_db = np.clip(np.round(levels_db), -127, 127).astype(np.int8)
    return go.Heatmap(
        z=whole_db,
        x=times_s,
        coloraxis=axis,
        hovertemplate="%{x:.2f} s · %{z} dB<extra></extra>",
    )


def _scale(
    colours: object, low_db: float, high_db: float, place: tuple[float, float]
) -> dict[str, object]:
    top, length = place
    bar = {"title": "dB", "thickness": 10, "len": length, "y": top, "yanchor": "top"}
    return {"colorscale": colours, "cmin": low_db, "cmax": high_db, "colorbar": bar}


def _mel_places(frequencies_hz: list[int], sample_rate_hz: int) -> list[float]:
    centres_hz = librosa.mel_frequencies(
        n_mels=N_MELS + 2, fmin=MEL_LOWEST_HZ, fmax=sample_rate_hz / 2
    )[1:-1]
    places = np.interp(frequencies_hz, centres_hz, np.arange(N_MELS))
    return [float(place) for place in places]


def _hz(frequency_hz: int) -> str:
    return f"{frequency_hz} Hz" if frequency_hz < 1000 else f"{frequency_hz // 1000} kHz"
