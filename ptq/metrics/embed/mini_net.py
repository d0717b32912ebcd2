"""The networks of `mini128`: an audio tower, a text tower, and the heads that train them.

Audio tower and pooling follow PANNs (Kong et al. 2020), made small; the text head sees where in
the clip something sounds, so that "a, then b" can be told from "b, then a", while the embedding
pools over time and does not depend on the clip's length.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptq.metrics.embed.base import SAMPLE_RATE_HZ
from ptq.metrics.embed.filters import hz_to_mel, triangular_filters
from ptq.metrics.embed.words import MAX_WORDS, PADDING

N_FFT = 512
HOP = 320
N_MELS = 64
EMBEDDING_DIM = 128
DEGRADATIONS = 8
_WIDTH = 256
_SEGMENTS = 4
_FLOOR = 1e-5
_SILENT_RMS = 1e-6
_MAX_LOGIT_SCALE = math.log(50.0)


class LogMel(nn.Module):
    """Gain-invariant log-mel spectrogram `(batch, frames, mels)` of `(batch, samples)` at 16 kHz.

    DC is removed and the clip scaled to an RMS of 1, so loudness cannot enter a distance; digital
    silence stays silence and lands on the floor.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, hop: int = HOP) -> None:
        super().__init__()
        bank = triangular_filters(
            sample_rate_hz=SAMPLE_RATE_HZ,
            n_fft=N_FFT,
            n_bands=N_MELS,
            range_hz=(50.0, 8000.0),
            warp=hz_to_mel,
        )
        self.hop = hop
        self.register_buffer("filters", torch.from_numpy(bank), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Natural logarithm of the band powers."""
        centred = samples - samples.mean(1, keepdim=True)
        level = centred.square().mean(1, keepdim=True).sqrt()
        scaled = torch.where(level > _SILENT_RMS, centred / level.clamp(min=_SILENT_RMS), 0.0)
        spectrum = torch.stft(scaled, N_FFT, self.hop, window=self.window, return_complex=True)
        power = spectrum.abs().square() / self.window.square().sum()
        return torch.log(self.filters @ power + _FLOOR).transpose(1, 2)


def _convolution(
    width_in: int, width: int, kernel: int, stride: int | tuple[int, int]
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(width_in, width, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


class AudioTower(nn.Module):
    """Spectrogram to what is heard over time, and to one embedding."""

    mel_mean: Tensor
    mel_std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.front = LogMel()
        self.register_buffer("mel_mean", torch.tensor(-4.5))
        self.register_buffer("mel_std", torch.tensor(4.0))
        self.convolutions = nn.Sequential(
            _convolution(1, 32, 5, 2),
            _convolution(32, 64, 3, 2),
            _convolution(64, 128, 3, 2),
            _convolution(128, 192, 3, (2, 1)),
        )
        self.collapse = nn.Linear(192 * (N_MELS // 16), _WIDTH)
        self.hidden = nn.Linear(2 * _WIDTH, _WIDTH)
        self.embedding = nn.Linear(_WIDTH, EMBEDDING_DIM)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding `(batch, 128)` before its ReLU, and frames `(batch, 256, frames)`."""
        embedding, frames = self.tower(self.normalised(samples))
        return embedding, frames

    def normalised(self, samples: Tensor) -> Tensor:
        """What the convolutions see: `(batch, 1, mels, frames)`."""
        mel: Tensor = (self.front(samples) - self.mel_mean) / self.mel_std
        return mel.transpose(1, 2)[:, None]

    def tower(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, from the normalised spectrogram."""
        hidden = self.convolutions(mel).permute(0, 3, 1, 2).flatten(2)
        frames = functional.relu(self.collapse(hidden)).float()
        # The soft maximum of a longer clip is no larger than that of a shorter one.
        loudest = torch.logsumexp(2.0 * frames, 1) / 2.0 - math.log(frames.shape[1]) / 2.0
        pooled = torch.cat([frames.mean(1), loudest], 1)
        return self.embedding(functional.relu(self.hidden(pooled))), frames.transpose(1, 2)


class TextTower(nn.Module):
    """Caption tokens `(batch, words)` to unit vectors `(batch, 128)`: two transformer layers."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, EMBEDDING_DIM, padding_idx=PADDING)
        self.places = nn.Parameter(torch.randn(MAX_WORDS, EMBEDDING_DIM) * 0.5)
        layer = nn.TransformerEncoderLayer(
            EMBEDDING_DIM,
            nhead=4,
            dim_feedforward=256,
            dropout=0.0,
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.projection = nn.Linear(EMBEDDING_DIM, EMBEDDING_DIM)
        # Places weigh as much as words: who comes first is half of what "then" says.
        nn.init.normal_(self.words.weight, std=0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Unit vectors of tokens."""
        padding = tokens == PADDING
        hidden = self.layers(
            self.words(tokens) + self.places[: tokens.shape[1]], src_key_padding_mask=padding
        )
        said = (~padding)[:, :, None].to(hidden.dtype)
        mean = (hidden * said).sum(1) / said.sum(1)
        return functional.normalize(self.projection(mean).float(), dim=1)


class MiniNet(nn.Module):
    """Both towers and the three heads."""

    def __init__(self, *, n_sources: int, vocabulary_size: int) -> None:
        super().__init__()
        self.audio = AudioTower()
        self.text = TextTower(vocabulary_size)
        self.classes = nn.Linear(EMBEDDING_DIM, n_sources)
        self.degradations = nn.Linear(EMBEDDING_DIM, DEGRADATIONS)
        self.contrast = nn.Sequential(
            nn.Linear(EMBEDDING_DIM + _SEGMENTS * _WIDTH, _WIDTH),
            nn.ReLU(),
            nn.Linear(_WIDTH, EMBEDDING_DIM),
        )
        self.logit_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def class_logits(self, embedding: Tensor) -> Tensor:
        """Logits `(batch, sources)`; sources are not exclusive."""
        logits: Tensor = self.classes(functional.relu(embedding))
        return logits

    def degradation_levels(self, embedding: Tensor) -> Tensor:
        """Estimated level of every degradation `(batch, 8)`, 0 (none) to 1 (severe)."""
        levels: Tensor = self.degradations(functional.relu(embedding))
        return levels

    def audio_for_text(self, embedding: Tensor, frames: Tensor) -> Tensor:
        """Unit vectors `(batch, 128)` in the space of the text tower."""
        return functional.normalize(self.contrast(self.heard(embedding, frames)), dim=1)

    def heard(self, embedding: Tensor, frames: Tensor) -> Tensor:
        """What the caption head sees `(batch, 1152)`: the embedding, and four parts of the clip."""
        over_time = functional.adaptive_avg_pool1d(frames, _SEGMENTS).flatten(1)
        return torch.cat([functional.relu(embedding), over_time], 1)

    def similarity(self, audio: Tensor, text: Tensor) -> Tensor:
        """Scaled cosines `(audio, text)` for the contrastive loss."""
        return self.logit_scale.clamp(max=_MAX_LOGIT_SCALE).exp() * audio @ text.T
