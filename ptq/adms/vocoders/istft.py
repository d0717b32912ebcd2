"""A frame-rate vocoder: ConvNeXt blocks at the mel frame rate, then inverse STFTs.

After Vocos (Siuzdak 2023, arXiv 2306.00814). All layers run once per frame instead of once per
sample, which makes it two orders cheaper on a CPU than a transposed-convolution vocoder.

Where a sound is steady, all frames look alike, and layers that treat all frames alike give every
frame the same phase: tones would land on multiples of the frame rate, and noise would buzz at it.
So three parts are added up, as in sinusoids-plus-noise models (Serra and Smith 1990): pulses, whose
phases count from their frame; tones, whose phases count from the start of the clip, so that a
constant is a steady tone; and noise, whose phases are drawn.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ptq.adms.vocoders.overlap import overlap_add
from ptq.errors import CheckpointError

CLASS_NAME = "IstftVocoder"
WEIGHTS_NAME = "model.safetensors"
_MAX_MAGNITUDE = 100.0
_KNEE, _ROOM = 0.9, 0.09
# Frames of drawn noise before it repeats: ten seconds.
NOISE_FRAMES = 1024
# Tones and noise start as a whisper, for a vocoder that learns to use them.
_WHISPER = -4.0


@dataclass(frozen=True, kw_only=True)
class IstftVocoderConfig:
    """Sizes of the vocoder and the affine map from the decoder's output to natural log-mel."""

    n_mels: int = 64
    width: int = 256
    hidden: int = 768
    n_blocks: int = 6
    n_fft: int = 640
    tone_n_fft: int = 2048
    tone_stride: int = 2
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


def _magnitude(log_magnitude: Tensor) -> Tensor:
    return torch.exp(log_magnitude.float()).clamp(max=_MAX_MAGNITUDE)


def _spectrum(outputs: Tensor) -> Tensor:
    """Complex ``(batch, frames, bins)`` of log magnitudes and phases beside each other."""
    log_magnitude, phase = outputs.float().chunk(2, dim=-1)
    return torch.polar(_magnitude(log_magnitude), phase)


def limited(samples: Tensor) -> Tensor:
    """Bend what is louder than 0.9 below full scale; the rest stays bit for bit.

    Magnitudes are right on average, but peaks depend on how phases fall: what is left above full
    scale would be cut off where a clip is written, and be heard as a crackle.
    """
    loud = samples.abs()
    over = _ROOM * torch.tanh((loud - _KNEE).clamp(min=0.0) / _ROOM)
    return torch.where(loud <= _KNEE, samples, samples.sign() * (_KNEE + over))


class IstftVocoder(nn.Module):
    """Log-mel frames to a waveform."""

    window: Tensor
    tone_window: Tensor
    noise: Tensor

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
        self.noise_head = nn.Linear(config.width, config.n_fft // 2 + 1)
        self.tone_head = nn.Linear(config.width, config.tone_n_fft + 2)
        nn.init.constant_(self.noise_head.bias, _WHISPER)
        nn.init.constant_(self.tone_head.bias[: config.tone_n_fft // 2 + 1], _WHISPER)
        drawn = torch.Generator().manual_seed(0)
        shape = (NOISE_FRAMES, config.n_fft // 2 + 1)
        noise = torch.randn(shape, dtype=torch.complex64, generator=drawn)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("tone_window", torch.hann_window(config.tone_n_fft), persistent=False)
        self.register_buffer("noise", noise, persistent=False)

    def forward(self, mel: Tensor, first_noise: int = 0) -> Tensor:
        """Synthesise ``(batch, samples)`` from ``(batch, frames, n_mels)`` normalised log-mel.

        ``samples`` is ``frames · hop_length``. The frame layout is transformers'
        ``SpeechT5HifiGan``'s, so that both vocoders serve the same adapter.

        Args:
            mel: The frames.
            first_noise: At which frame of the drawn noise to begin.
        """
        hidden = self.trunk(mel)
        return limited(self.transients(hidden, first_noise) + self.tones(hidden))

    def trunk(self, mel: Tensor) -> Tensor:
        """What all parts are made from, ``(batch, frames, width)``."""
        x = self.norm_in(self.conv_in(mel.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        hidden: Tensor = self.norm_out(x.transpose(1, 2))
        return hidden

    def transients(self, hidden: Tensor, first_noise: int = 0) -> Tensor:
        """Pulses and noise ``(batch, samples)``."""
        n_fft, hop, count = self.config.n_fft, self.config.hop_length, hidden.shape[1]
        spectrum = _spectrum(self.head(hidden))
        places = (torch.arange(count, device=hidden.device) + first_noise) % NOISE_FRAMES
        loudness = _magnitude(self.noise_head(hidden))
        spectrum = spectrum + loudness * self.noise[places]
        return overlap_add(spectrum, self.window, hop, (n_fft - hop) // 2, count * hop)

    def tones(self, hidden: Tensor) -> Tensor:
        """Steady tones and slow glides ``(batch, samples)``."""
        n_fft, stride = self.config.tone_n_fft, self.config.tone_stride
        hop, length = self.config.hop_length * stride, hidden.shape[1] * self.config.hop_length
        log_magnitude, phase = self.tone_head(hidden[:, ::stride]).float().chunk(2, dim=-1)
        frames = torch.arange(phase.shape[1], device=phase.device)
        bins = torch.arange(phase.shape[2], device=phase.device)
        # In whole samples of a turn, which stay exact however long the clip is.
        turned = torch.outer(frames * hop, bins) % n_fft * (2 * torch.pi / n_fft)
        spectrum = torch.polar(_magnitude(log_magnitude), phase + turned)
        lead = (n_fft - self.config.hop_length) // 2
        return overlap_add(spectrum, self.tone_window, hop, lead, length)

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
