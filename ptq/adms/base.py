"""What every audio diffusion model (ADM) looks like to the rest of the library."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from ptq.layer_spec import LayerInfo
from ptq.layers import inventory


@dataclass(frozen=True, kw_only=True)
class AudioSpec:
    """What a model produces and how it is normally sampled."""

    sample_rate_hz: int
    channels: int
    default_steps: int
    default_guidance: float
    default_seconds: float
    max_seconds: float


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """Keyword arguments of one denoiser call for each guidance branch.

    Attributes:
        cond: Tensors ``(batch, …)`` that say the prompts, by the denoiser's own names.
        uncond: The same of the empty prompt.
    """

    cond: Mapping[str, Tensor]
    uncond: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.cond.values())))

    def rows(self, start: int, stop: int) -> "Conditioning":
        """The conditioning of some of the samples."""
        return Conditioning(
            cond={key: value[start:stop] for key, value in self.cond.items()},
            uncond={key: value[start:stop] for key, value in self.uncond.items()},
        )


@runtime_checkable
class AudioDiffusionModel(Protocol):
    """One interface over every family; quantization addresses a part and a layer name."""

    id: str
    family: str
    spec: AudioSpec
    source_hash: str

    def parts(self) -> Mapping[str, nn.Module]:
        """Modules by part: text_encoder*, conditioner, denoiser, vae, vocoder."""

    def splits(self) -> Mapping[str, int]:
        """Channel at which the skip half of a concatenated input begins, by layer name."""

    def latent_shape(self, batch: int, seconds: float) -> tuple[int, ...]:
        """Shape of the latents of clips of a length."""

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Turn prompts into conditioning, with the null prompt as the other branch."""

    def schedule(self, steps: int) -> Sequence[float]:
        """Model times of a sampling run, first to last; resets the solver."""

    def denoise(self, x: Tensor, t: float, conditioning: Mapping[str, Tensor]) -> Tensor:
        """Run exactly one denoiser forward and return its raw prediction."""

    def guide(self, uncond: Tensor, cond: Tensor, scale: float) -> Tensor:
        """Merge the two branches' predictions."""

    def step(self, prediction: Tensor, t: float, x: Tensor, noise: Tensor | None) -> Tensor:
        """Advance the latents by one solver step."""

    def caching(self) -> AbstractContextManager[object]:
        """Keep what the denoiser would compute again, for one list of prompts."""

    def decode(self, x: Tensor) -> Tensor:
        """Latents to the vocoder's input."""

    def vocode(self, mel: Tensor) -> Tensor:
        """The vocoder's input to samples ``(batch, samples)``."""


def layers_of(adm: AudioDiffusionModel) -> tuple[LayerInfo, ...]:
    """Every quantizable site of a model, in its own order."""
    return tuple(inventory(adm.parts(), adm.splits()))
