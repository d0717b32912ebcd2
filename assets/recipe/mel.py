"""The voice's mel front end: AudioLDM's own numbers, normalised for training."""

import functools

import torch
from librosa.filters import mel as mel_filters
from torch import Tensor
from torch.nn import functional as F

SAMPLE_RATE_HZ = 16_000
N_FFT = 1024
HOP = 160
N_MELS = 64
# The normalised value is (log-mel - MEAN) / STD: silence (log 1e-5 = -11.5) lands at -1.5.
MEL_MEAN = -4.6
MEL_STD = 4.6
_FLOOR = 1e-5


@functools.cache
def _filters() -> Tensor:
    bank = mel_filters(sr=SAMPLE_RATE_HZ, n_fft=N_FFT, n_mels=N_MELS, fmin=0, fmax=8000)
    return torch.from_numpy(bank)


def log_mel(samples: Tensor) -> Tensor:
    """Natural log-mel ``(batch, samples // 160, 64)`` of ``(batch, samples)`` at 16 kHz."""
    pad = (N_FFT - HOP) // 2
    padded = F.pad(samples[:, None], (pad, pad), mode="reflect")[:, 0]
    window = torch.hann_window(N_FFT, device=samples.device)
    spectrum = torch.stft(
        padded, N_FFT, HOP, window=window, center=False, return_complex=True
    ).abs()
    mel = _filters().to(samples.device) @ spectrum
    return torch.log(mel.clamp(min=_FLOOR)).transpose(1, 2)


def normalised_mel(samples: Tensor) -> Tensor:
    """What the VAE sees: ``(batch, frames, 64)``."""
    return (log_mel(samples) - MEL_MEAN) / MEL_STD
