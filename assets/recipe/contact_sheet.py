"""A sheet of log-mel spectrograms: one row per source, one column per seed.

python -m assets.recipe.contact_sheet sheet.png [SOURCE …]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from librosa.filters import mel
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import signal

from assets.recipe.synth import SAMPLE_RATE_HZ, VOICES, Voicing, render_source

_N_FFT: Final = 1_024
_HOP: Final = 160
_FLOOR: Final = 1e-5
_FILTERS: Final[NDArray[np.float64]] = np.asarray(
    mel(sr=SAMPLE_RATE_HZ, n_fft=_N_FFT, n_mels=64, fmin=0.0, fmax=8_000.0),
    dtype=np.float64,
)


def log_mel(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm of the mel magnitudes, floored at 1e-5.

    Args:
        samples: Shape `(n_samples,)`.

    Returns:
        Shape `(64, frames)`, low bands first.
    """
    window = signal.get_window("hann", _N_FFT)
    padded = np.pad(samples, _N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::_HOP]
    magnitudes = np.abs(np.fft.rfft(frames * window, axis=1))
    return np.asarray(np.log(np.maximum(_FILTERS @ magnitudes.T, _FLOOR)))


def write_contact_sheet(
    path: Path,
    *,
    sources: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3),
    duration_s: float = 2.56,
    voicing: Voicing | None = None,
) -> None:
    """Draw the sheet.

    Args:
        path: Image file; the suffix chooses the format.
        sources: Rows, top to bottom; all voices when absent.
        seeds: Columns: seeds of the generator of each clip.
        duration_s: Length of each clip.
        voicing: Pace and pitch of all clips; unsaid when absent.
    """
    rows = tuple(VOICES) if sources is None else tuple(sources)
    figure = Figure(figsize=(3.2 * len(seeds), 1.25 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(seeds), squeeze=False)
    n_samples = round(duration_s * SAMPLE_RATE_HZ)
    for line, source_id in zip(axes, rows, strict=True):
        for axis, seed in zip(line, seeds, strict=True):
            rng = np.random.default_rng(seed)
            clip = render_source(source_id, rng, n_samples, voicing or Voicing())
            axis.imshow(log_mel(clip), origin="lower", aspect="auto", vmin=-8.0, vmax=4.0)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(source_id, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def main() -> None:
    """Draw all voices, or those that are named."""
    parser = argparse.ArgumentParser(description="Draw log-mel spectrograms of the voices.")
    parser.add_argument("path", type=Path)
    parser.add_argument("sources", nargs="*", help="rows; all voices when left out")
    arguments = parser.parse_args()
    write_contact_sheet(arguments.path, sources=arguments.sources or None)


if __name__ == "__main__":
    main()
