"""Spectral distances between two paired clips; all take samples `(..., time)`."""

from functools import lru_cache

import numpy as np
from librosa.filters import mel
from numpy.typing import ArrayLike
from scipy import signal

from ptq.errors import MetricError
from ptq.metrics.base import Array, as_pair

# Power below −100 dB is treated as silence, so that two silent frames have distance 0.
POWER_FLOOR = 1e-10
MAGNITUDE_FLOOR = 1e-4
# (n_fft, hop, window) of Yamamoto et al. 2020, table 1.
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
MEL_LOWEST_HZ = 50.0


def lsd_db(reference: ArrayLike, estimate: ArrayLike, *, sample_rate_hz: int) -> float:
    """Log-spectral distance: mean over frames of the RMS over bins of the power ratio in dB.

    Windows of 2048/44100 s every 10 ms.  Papers that leave out the factor 10 of the decibel read
    a tenth of this value.

    Args:
        reference: Samples `(..., time)`.
        estimate: Samples, same shape and rate.
        sample_rate_hz: Rate of both.

    Raises:
        MetricError: Shapes differ, samples are not finite, or clips are shorter than a window.
    """
    first, second = as_pair(reference, estimate)
    n_fft, hop = round(2048 * sample_rate_hz / 44100), sample_rate_hz // 100
    gap_db = _power_db(magnitude(first, n_fft=n_fft, hop=hop) ** 2)
    gap_db = gap_db - _power_db(magnitude(second, n_fft=n_fft, hop=hop) ** 2)
    return float(np.sqrt(np.square(gap_db).mean(axis=-1)).mean())


def log_mel_l1_db(
    reference: ArrayLike, estimate: ArrayLike, *, sample_rate_hz: int, n_mels: int = 64
) -> float:
    """Mean absolute difference of the log-mel spectrograms in dB.

    Windows of at least 32 ms every 10 ms, mel bands from 50 Hz to half the rate.

    Args:
        reference: Samples `(..., time)`.
        estimate: Samples, same shape and rate.
        sample_rate_hz: Rate of both.
        n_mels: Number of mel bands.

    Raises:
        MetricError: Shapes differ, samples are not finite, or clips are shorter than a window.
    """
    first, second = as_pair(reference, estimate)
    gap_db = log_mel_db(first, sample_rate_hz=sample_rate_hz, n_mels=n_mels)
    gap_db = gap_db - log_mel_db(second, sample_rate_hz=sample_rate_hz, n_mels=n_mels)
    return float(np.abs(gap_db).mean())


def log_mel_db(samples: Array, *, sample_rate_hz: int, n_mels: int = 64) -> Array:
    """Log-mel power spectrogram in dB, `(..., frames, n_mels)`, floored at −100 dB.

    Args:
        samples: `(..., time)`.
        sample_rate_hz: Their rate.
        n_mels: Number of mel bands.

    Raises:
        MetricError: The clip is shorter than a window.
    """
    n_fft = 2 ** int(np.ceil(np.log2(0.032 * sample_rate_hz)))
    power = magnitude(samples, n_fft=n_fft, hop=sample_rate_hz // 100) ** 2
    return _power_db(power @ _mel_filters(sample_rate_hz, n_fft, n_mels).T)


def mr_stft_distance(reference: ArrayLike, estimate: ArrayLike) -> float:
    """Multi-resolution STFT distance (Yamamoto et al. 2020, eqs. 4 to 6), the mean of three.

    Each resolution adds spectral convergence ‖S − Ŝ‖_F/‖S‖_F to the mean absolute difference of
    the natural log magnitudes.  It has no unit.

    Args:
        reference: Samples of one clip, `(time,)` or `(channels, time)`.
        estimate: Samples, same shape and rate.

    Raises:
        MetricError: Shapes differ, samples are not finite, or clips are shorter than a window.
    """
    first, second = as_pair(reference, estimate)
    distances = []
    for n_fft, hop, window in RESOLUTIONS:
        target = magnitude(first, n_fft=n_fft, hop=hop, window=window)
        other = magnitude(second, n_fft=n_fft, hop=hop, window=window)
        target, other = (np.maximum(part, MAGNITUDE_FLOOR) for part in (target, other))
        convergence = np.linalg.norm(target - other) / np.linalg.norm(target)
        distances.append(convergence + np.abs(np.log(target / other)).mean())
    return float(np.mean(distances))


def magnitude(samples: Array, *, n_fft: int, hop: int, window: int | None = None) -> Array:
    """Magnitude spectrogram `(..., frames, n_fft // 2 + 1)`, Hann window, centred frames.

    Args:
        samples: `(..., time)`.
        n_fft: Samples of a frame.
        hop: Samples between frames.
        window: Samples of the window, centred in the frame; None fills the frame.

    Raises:
        MetricError: The clip is too short to be reflected at its ends.
    """
    width = n_fft if window is None else window
    if samples.shape[-1] <= n_fft // 2:
        raise MetricError(
            f"a clip of {samples.shape[-1]} samples is too short for windows of {n_fft}; "
            "use longer clips."
        )
    margin = [(0, 0)] * (samples.ndim - 1) + [(n_fft // 2, n_fft // 2)]
    padded = np.pad(samples, margin, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=-1)[..., ::hop, :]
    before = (n_fft - width) // 2
    taper = np.pad(signal.get_window("hann", width), (before, n_fft - width - before))
    spectrum: Array = np.abs(np.fft.rfft(frames * taper, axis=-1))
    return spectrum


def _power_db(power: Array) -> Array:
    decibels: Array = 10.0 * np.log10(np.maximum(power, POWER_FLOOR))
    return decibels


@lru_cache(maxsize=8)
def _mel_filters(sample_rate_hz: int, n_fft: int, n_mels: int) -> Array:
    bank: Array = mel(
        sr=sample_rate_hz, n_fft=n_fft, n_mels=n_mels, fmin=MEL_LOWEST_HZ, dtype=np.float64
    )
    return bank
