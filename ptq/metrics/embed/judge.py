"""The judge: an independent classifier that names the sources of a clip.

It shares no weights, no architecture, no front end and no training seed with the embedder
`mini128`, so that the embedded ADM is never graded by the ear that its distances rest on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ptq.metrics.embed.base import SAMPLE_RATE_HZ, batches_by_length
from ptq.metrics.embed.filters import hz_to_erb_rate, triangular_filters
from ptq.metrics.embed.weights import read_network

JUDGE_FOLDER = Path(__file__).resolve().parents[3] / "assets" / "judge"
N_FFT = 1024
HOP = 400
N_BANDS = 64
# Loudness grows about like this power of the intensity; unlike a logarithm it leaves silence at 0.
_COMPRESSION = 0.2
_SILENT_RMS = 1e-6
_BATCH = 4


class _Residual(nn.Module):
    """Two 3×3 convolutions beside a 1×1 shortcut; the first one strides."""

    def __init__(self, width_in: int, width: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.first = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.shortcut = nn.Conv2d(width_in, width, 1)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.first_norm(self.first(x)))
        hidden = self.second_norm(self.second(hidden))
        pooled = functional.avg_pool2d(x, self.stride, ceil_mode=True)
        return functional.relu(hidden + self.shortcut(pooled))


class JudgeNet(nn.Module):
    """Residual CNN on ERB-rate spectra with an attention over time for every source."""

    erb_filters: Tensor
    window: Tensor

    def __init__(self, n_sources: int) -> None:
        super().__init__()
        bank = triangular_filters(
            sample_rate_hz=SAMPLE_RATE_HZ,
            n_fft=N_FFT,
            n_bands=N_BANDS,
            range_hz=(30.0, 7900.0),
            warp=hz_to_erb_rate,
        )
        self.register_buffer("erb_filters", torch.from_numpy(bank), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.stem = nn.Conv2d(1, 24, 5, 2, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(24)
        self.blocks = nn.Sequential(
            _Residual(24, 32, (2, 2)), _Residual(32, 64, (2, 2)), _Residual(64, 96, (2, 1))
        )
        self.mix = nn.Linear(96 * (N_BANDS // 16), 160)
        self.score = nn.Linear(160, n_sources)
        self.attention = nn.Linear(160, n_sources)

    def features(self, samples: Tensor) -> Tensor:
        """Compressed ERB spectrum `(batch, 1, bands, frames)` of `(batch, samples)`."""
        centred = samples - samples.mean(1, keepdim=True)
        level = centred.square().mean(1, keepdim=True).sqrt()
        scaled = centred / level.clamp(min=_SILENT_RMS)
        spectrum = torch.stft(scaled, N_FFT, HOP, window=self.window, return_complex=True)
        power = spectrum.abs().square() / self.window.square().sum()
        # The gradient of a power below 1 is infinite at 0, and so is silence's in bfloat16.
        return ((self.erb_filters @ power + 1e-8) ** _COMPRESSION)[:, None]

    def forward(self, features: Tensor) -> Tensor:
        """Logits `(batch, sources)` of features `(batch, 1, bands, frames)`."""
        hidden = self.blocks(functional.relu(self.stem_norm(self.stem(features))))
        frames = hidden.permute(0, 3, 1, 2).flatten(2)
        frames = functional.relu(self.mix(frames))
        weight = self.attention(frames).softmax(1)
        logits: Tensor = (weight * self.score(frames)).sum(1)
        return logits


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A trained classifier.

    Attributes:
        net: The network, in eval mode.
        sources: Source ids in the order of the probabilities.
        sha256: Hash of the weights file.
    """

    net: JudgeNet
    sources: tuple[str, ...]
    sha256: str

    @classmethod
    def load(cls, folder: Path = JUDGE_FOLDER) -> Self:
        """Read the weights that ship in `assets/judge/`.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        return read_network(folder, "judge", cls._build)

    @classmethod
    def _build(cls, config: dict[str, Any], state: dict[str, Tensor]) -> Self:
        net = JudgeNet(len(config["sources"]))
        net.load_state_dict(state)
        return cls(net=net.eval(), sources=tuple(config["sources"]), sha256=config["sha256"])

    @torch.no_grad()
    def logits(self, clips: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Logits `(n, sources)` of mono clips at 16 kHz, which may differ in length."""
        rows = np.zeros((len(clips), len(self.sources)), dtype=np.float32)
        for indices, samples in batches_by_length(clips, _BATCH):
            logits = self.net(self.net.features(samples))
            rows[indices] = logits.numpy()[: len(indices)]
        return rows

    def probabilities(self, clips: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """How much of each clip every source has, `(n, sources)`; rows sum to 1."""
        shares: NDArray[np.float32] = torch.from_numpy(self.logits(clips)).softmax(1).numpy()
        return shares
