"""A frame-rate vocoder: ConvNeXt blocks at the mel frame rate, then one inverse STFT.

After Vocos (Siuzdak 2023, arXiv 2306.00814). All layers run once per frame instead of once per
sample, which makes it two orders cheaper on a CPU than a transposed-convolution vocoder.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ptq.errors import CheckpointError

CLASS_NAME = "IstftVocoder"
WEIGHTS_NAME = "model.safetensors"
_MAX_MAGNITUDE = 100.0


@dataclass(frozen=True, kw_only=True)
class IstftVocoderConfig:
    """Sizes of the vocoder and the affine map from the decoder's output to natural log-mel."""

    n_mels: int = 64
    width: int = 256
    hidden: int = 768
    n_blocks: int = 6
    n_fft: int = 640
    hop_length: int = 160
    sampling_rate: int = 16_000
    mel_mean: float = -4.6
    mel_std: float = 4.6


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a pointwise two-layer network, with a residual."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.gain = nn.Parameter(torch.full((width,), 1 / 6))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, width, frames)`` to the same shape."""
        y = self.norm(self.depthwise(x).transpose(1, 2))
        y = self.contract(F.gelu(self.expand(y))) * self.gain
        mixed: Tensor = x + y.transpose(1, 2)
        return mixed


class IstftVocoder(nn.Module):
    """Log-mel frames to a waveform."""

    window: Tensor

    def __init__(self, config: IstftVocoderConfig) -> None:
        super().__init__()
        self.config = config
        self.conv_in = nn.Conv1d(config.n_mels, config.width, kernel_size=7, padding=3)
        self.norm_in = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(config.width, config.hidden) for _ in range(config.n_blocks)
        )
        self.norm_out = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.n_fft + 2)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """Synthesise ``(batch, samples)`` from ``(batch, frames, n_mels)`` normalised log-mel.

        ``samples`` is ``frames · hop_length``. The frame layout is transformers'
        ``SpeechT5HifiGan``'s, so that both vocoders serve the same adapter.
        """
        x = self.norm_in(self.conv_in(mel.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        log_magnitude, phase = self.head(self.norm_out(x.transpose(1, 2))).float().chunk(2, dim=-1)
        magnitude = torch.exp(log_magnitude).clamp(max=_MAX_MAGNITUDE)
        return self._overlap_add(torch.polar(magnitude, phase))

    def _overlap_add(self, spectrum: Tensor) -> Tensor:
        """Invert ``(batch, frames, bins)`` with a squared-window normalised overlap-add."""
        n_fft, hop = self.config.n_fft, self.config.hop_length
        frames = torch.fft.irfft(spectrum, n_fft) * self.window
        count = frames.shape[1]
        length = (count - 1) * hop + n_fft
        fold = {"output_size": (1, length), "kernel_size": (1, n_fft), "stride": (1, hop)}
        signal = F.fold(frames.transpose(1, 2), **fold)[:, 0, 0]
        envelope = F.fold((self.window**2)[None, :, None].expand(1, -1, count), **fold)[0, 0, 0]
        pad = (n_fft - hop) // 2
        return (signal / envelope.clamp(min=1e-8))[:, pad : pad + count * hop]

    def save_pretrained(self, folder: Path) -> None:
        """Write ``config.json`` and the weights into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {"_class_name": CLASS_NAME, **asdict(self.config)}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file(dict(self.state_dict()), folder / WEIGHTS_NAME)

    @classmethod
    def from_pretrained(cls, folder: Path) -> "IstftVocoder":
        """Read a folder that ``save_pretrained`` wrote.

        Raises:
            CheckpointError: If the configuration or the weights do not fit.
        """
        try:
            config = dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"The vocoder's configuration in {folder} cannot be read ({error}); restore it."
            ) from error
        if config.pop("_class_name", None) != CLASS_NAME:
            raise CheckpointError(f"{folder} holds no {CLASS_NAME}; name a folder that does.")
        try:
            vocoder = cls(IstftVocoderConfig(**config))
            vocoder.load_state_dict(load_file(folder / WEIGHTS_NAME))
        except (TypeError, RuntimeError, OSError, SafetensorError) as error:
            raise CheckpointError(
                f"The vocoder in {folder} is damaged ({error}); restore it from its source."
            ) from error
        return vocoder.eval()
