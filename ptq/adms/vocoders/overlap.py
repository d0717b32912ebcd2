"""Inverse short-time Fourier transform with frames that are centred on mel frames."""

import torch
from torch import Tensor
from torch.nn import functional as F


def overlap_add(spectrum: Tensor, window: Tensor, hop: int, lead: int, length: int) -> Tensor:
    """Invert a spectrum with a squared-window normalised overlap-add.

    Args:
        spectrum: ``(batch, frames, bins)``, complex; ``window`` is ``2 · (bins - 1)`` long.
        window: Of the frames.
        hop: Samples from frame to frame.
        lead: Samples of the first frame that lie before the signal.
        length: Samples wanted.

    Returns:
        The signal ``(batch, length)``.
    """
    n_fft, count = len(window), spectrum.shape[1]
    frames = torch.fft.irfft(spectrum, n_fft) * window
    total = (count - 1) * hop + n_fft
    fold = {"output_size": (1, total), "kernel_size": (1, n_fft), "stride": (1, hop)}
    signal = F.fold(frames.transpose(1, 2), **fold)[:, 0, 0]
    envelope = F.fold((window**2)[None, :, None].expand(1, -1, count), **fold)[0, 0, 0]
    whole = signal / envelope.clamp(min=1e-8)
    return whole[:, lead : lead + length]
