"""`logmel128`: mean and standard deviation of 64 log-mel bands. Nothing is trained.

It hears band-limiting and broadband noise better than a trained embedding and textures worse:
the two are reported side by side.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from ptq.metrics.embed.base import SAMPLE_RATE_HZ, batches_by_length
from ptq.metrics.embed.mini_net import N_FFT, N_MELS, LogMel

_HOP = 160
_BATCH = 4
_SETTINGS = f"logmel128 v1 {SAMPLE_RATE_HZ} Hz, FFT {N_FFT}, hop {_HOP}, {N_MELS} mel"


@dataclass(frozen=True, kw_only=True)
class LogMel128:
    """Embedder without weights; DC and level are removed as in `mini128`."""

    front: LogMel = field(default_factory=lambda: LogMel(_HOP))

    @property
    def id(self) -> str:
        """Name of the embedder."""
        return "logmel128"

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        return 2 * N_MELS

    @property
    def sample_rate_hz(self) -> int:
        """Rate that `embed` expects."""
        return SAMPLE_RATE_HZ

    @property
    def sha256(self) -> str:
        """Hash of the settings: there are no weights."""
        return hashlib.sha256(_SETTINGS.encode()).hexdigest()

    @torch.no_grad()
    def embed(self, clips: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Mean, then standard deviation over time, of every band, `(n, 128)`.

        Raises:
            MetricError: A clip is not mono, too short, or not finite.
        """
        rows = np.zeros((len(clips), self.dim), dtype=np.float32)
        for indices, samples in batches_by_length(clips, _BATCH):
            mel = self.front(samples)
            statistics = torch.cat([mel.mean(1), mel.std(1, correction=0)], 1)
            rows[indices] = statistics.numpy()[: len(indices)]
        return rows
