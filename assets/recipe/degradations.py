"""Eight graded ways to make audio worse, for training and for testing the ear.

A degradation is a function of clips `(batch, samples)` and one physical value; `Grade` maps a
level from 0 (hardly audible) to 1 (severe) to that value.
"""

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

SAMPLE_RATE_HZ = 16_000
_N_FFT = 512
_HOP = 128
_DROPOUT_BANDS = 64
_TINY = 1e-9


class Degradation(enum.Enum):
    """What is made worse; the value is the unit of its physical value."""

    NOISE = "SNR in dB"
    LOW_PASS = "cut-off in Hz"
    BITS = "bits of the peak"
    CLIPPING = "share of the peak"
    JITTER = "standard deviation of the log magnitude"
    SMEAR = "frames of 8 ms"
    STRETCH = "duration ratio of slower playback"
    DROPOUT = "share of the bands"


def degrade(
    clips: Tensor, kind: Degradation, value: float, generator: torch.Generator | None = None
) -> Tensor:
    """Degrade clips `(batch, samples)` at 16 kHz; the length stays."""
    return _FUNCTIONS[kind](clips, value, generator)


@dataclass(frozen=True, kw_only=True)
class Grade:
    """Physical values of level 0 and level 1, and whether the way between them is geometric."""

    mild: float
    severe: float
    geometric: bool = True

    def value(self, level: float) -> float:
        """Physical value of a level between 0 and 1."""
        if self.geometric:
            return self.mild * math.pow(self.severe / self.mild, level)
        return self.mild + (self.severe - self.mild) * level


GRADES = {
    Degradation.NOISE: Grade(mild=45.0, severe=-5.0, geometric=False),
    Degradation.LOW_PASS: Grade(mild=7500.0, severe=800.0),
    Degradation.BITS: Grade(mild=11.0, severe=2.0, geometric=False),
    Degradation.CLIPPING: Grade(mild=0.9, severe=0.03),
    Degradation.JITTER: Grade(mild=0.05, severe=1.0),
    Degradation.SMEAR: Grade(mild=1.5, severe=20.0),
    Degradation.STRETCH: Grade(mild=1.01, severe=1.5),
    Degradation.DROPOUT: Grade(mild=0.02, severe=0.6),
}


def _peak(clips: Tensor) -> Tensor:
    return clips.abs().amax(1, keepdim=True).clamp(min=_TINY)


def _noise(clips: Tensor, snr_db: float, generator: torch.Generator | None) -> Tensor:
    level = clips.square().mean(1, keepdim=True).sqrt() * 10 ** (-snr_db / 20)
    return clips + level * torch.randn(clips.shape, generator=generator)


def _low_pass(clips: Tensor, cutoff_hz: float, _: torch.Generator | None) -> Tensor:
    spectrum = torch.fft.rfft(clips)
    frequency = torch.fft.rfftfreq(clips.shape[1], 1 / SAMPLE_RATE_HZ)
    # A Butterworth magnitude of order 8 without its phase.
    gain = (1 + (frequency / cutoff_hz) ** 16).rsqrt()
    filtered: Tensor = torch.fft.irfft(spectrum * gain, n=clips.shape[1])
    return filtered


def _bits(clips: Tensor, bits: float, _: torch.Generator | None) -> Tensor:
    step = 2 * _peak(clips) / 2**bits
    quantized: Tensor = (clips / step).round() * step
    return quantized


def _clipping(clips: Tensor, share: float, _: torch.Generator | None) -> Tensor:
    limit = share * _peak(clips)
    return clips.clamp(-limit, limit)


def _spectrum(clips: Tensor) -> Tensor:
    return torch.stft(clips, _N_FFT, _HOP, window=torch.hann_window(_N_FFT), return_complex=True)


def _samples(spectrum: Tensor, n_samples: int) -> Tensor:
    window = torch.hann_window(_N_FFT)
    return torch.istft(spectrum, _N_FFT, _HOP, window=window, length=n_samples)


def _jitter(clips: Tensor, sigma: float, generator: torch.Generator | None) -> Tensor:
    spectrum = _spectrum(clips)
    factor = torch.exp(sigma * torch.randn(spectrum.shape, generator=generator))
    return _samples(spectrum * factor, clips.shape[1])


def _smear(clips: Tensor, frames: float, _: torch.Generator | None) -> Tensor:
    spectrum = _spectrum(clips)
    magnitude = spectrum.abs()
    # A box of a fractional number of frames: whole frames inside, a share of one at the edge.
    whole = math.floor(frames)
    kernel = torch.ones(whole + 1)
    kernel[-1] = frames - whole
    kernel = (kernel / kernel.sum())[None, None]
    rows = magnitude.flatten(0, 1)[:, None]
    left = whole // 2
    padded = functional.pad(rows, (left, whole - left), mode="replicate")
    smeared = functional.conv1d(padded, kernel).reshape(magnitude.shape)
    return _samples(torch.polar(smeared, spectrum.angle()), clips.shape[1])


def _stretch(clips: Tensor, ratio: float, _: torch.Generator | None) -> Tensor:
    """Slower playback, band-limited: the pitch falls too; what no longer fits is cut off."""
    n = clips.shape[1]
    longer = 2 * round(n * ratio / 2)
    # Zeros above the old Nyquist frequency resample; irfft divides by the new length.
    slow = torch.fft.irfft(torch.fft.rfft(clips), n=longer) * (longer / n)
    cut: Tensor = slow[:, :n]
    return cut


def _dropout(clips: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    spectrum = _spectrum(clips)
    # Bands of equal width on the Bark-like scale of the ear: narrow low, wide high.
    hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, spectrum.shape[1])
    band = (torch.log1p(hz / 700) / math.log1p(8000 / 700) * (_DROPOUT_BANDS - 1)).round().long()
    kept = torch.rand(len(clips), _DROPOUT_BANDS, generator=generator) >= share
    return _samples(spectrum * kept[:, band, None], clips.shape[1])


_FUNCTIONS: dict[Degradation, Callable[[Tensor, float, torch.Generator | None], Tensor]] = {
    Degradation.NOISE: _noise,
    Degradation.LOW_PASS: _low_pass,
    Degradation.BITS: _bits,
    Degradation.CLIPPING: _clipping,
    Degradation.JITTER: _jitter,
    Degradation.SMEAR: _smear,
    Degradation.STRETCH: _stretch,
    Degradation.DROPOUT: _dropout,
}
