"""Clips longer than a model was made for: the denoiser sees windows, and their overlaps agree.

At every step the latents are cut into overlapping windows of the usual length, each is denoised by
itself, and predictions are averaged where windows overlap, weighted towards their middles
(MultiDiffusion, Bar-Tal et al. 2023, arXiv 2302.08113).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.wrapped import WrappedModel
from ptq.errors import ConfigError

_FRAMES = 2  # the axis of (batch, channels, frames, mels)


class TiledModel(WrappedModel):
    """An ADM whose denoiser is run window by window; everything else is the model's own.

    Args:
        adm: The model.
        window_seconds: What its denoiser sees at once.
        overlap: Share of a window that the next one sees again, 0 to below 1.

    Raises:
        ConfigError: If the overlap is no such share.
    """

    def __init__(
        self, adm: AudioDiffusionModel, window_seconds: float, overlap: float = 0.5
    ) -> None:
        super().__init__(adm)
        if not 0.0 <= overlap < 1.0:
            raise ConfigError(f"Windows cannot overlap by {overlap}; choose 0 to below 1.")
        self._window = adm.latent_shape(1, window_seconds)[_FRAMES]
        self._hop = max(1, round(self._window * (1.0 - overlap)))

    def denoise(self, x: Tensor, t: float, conditioning: Mapping[str, Tensor]) -> Tensor:
        """One prediction for latents of any length."""
        frames = x.shape[_FRAMES]
        if frames <= self._window:
            return self._adm.denoise(x, t, conditioning)
        total, weights = torch.zeros_like(x), x.new_zeros(1, 1, frames, 1)
        shape = _triangle(self._window).to(x)[:, None]
        for start in self._starts(frames):
            here = slice(start, start + self._window)
            total[:, :, here] += shape * self._adm.denoise(x[:, :, here], t, conditioning)
            weights[:, :, here] += shape
        return total / weights

    def _starts(self, frames: int) -> list[int]:
        last = frames - self._window
        return sorted({*range(0, last, self._hop), last})


def _triangle(length: int) -> Tensor:
    """Weights that rise to the middle and fall again, never zero."""
    rise = torch.arange(1, length + 1, dtype=torch.float32)
    return torch.minimum(rise, rise.flip(0))
