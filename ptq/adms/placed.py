"""An ADM whose heavy parts compute on a GPU, for benchmarks that a CPU would take days for.

Text, noise, solver and guidance stay on the CPU: what is drawn does not depend on the device.
"""

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from ptq.adms.base import AudioDiffusionModel, AudioSpec, Conditioning

_HEAVY = ("denoiser", "vae", "vocoder")


def accelerator() -> torch.device:
    """The GPU, told to compute in whole float32, or the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda")


def device_name() -> str:
    """What ``accelerator`` is called."""
    device = accelerator()
    return "CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)


def placed(adm: AudioDiffusionModel, device: torch.device) -> AudioDiffusionModel:
    """A copy of a model whose heavy parts are on a device; on the CPU the model itself."""
    return adm if device.type == "cpu" else Placed(adm, device)


class Placed:
    """The ADM protocol for a copy of a model on another device; tensors come and go on the CPU.

    Args:
        adm: The model, which stays where it is.
        device: Where denoiser, autoencoder and vocoder compute.
    """

    def __init__(self, adm: AudioDiffusionModel, device: torch.device) -> None:
        self._adm, self._device = copy.deepcopy(adm), device
        self.id, self.family = adm.id, adm.family
        self.spec: AudioSpec = adm.spec
        self.source_hash = adm.source_hash
        for name, part in self._adm.parts().items():
            if name in _HEAVY:
                part.to(device)

    def parts(self) -> Mapping[str, nn.Module]:
        """Modules by part, the heavy ones on the device."""
        return self._adm.parts()

    def splits(self) -> Mapping[str, int]:
        """As the model's."""
        return self._adm.splits()

    def latent_shape(self, batch: int, seconds: float) -> tuple[int, ...]:
        """As the model's."""
        return self._adm.latent_shape(batch, seconds)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """As the model's, on the CPU."""
        return self._adm.encode(prompts)

    def schedule(self, steps: int) -> Sequence[float]:
        """As the model's."""
        return self._adm.schedule(steps)

    def denoise(self, x: Tensor, t: float, conditioning: Mapping[str, Tensor]) -> Tensor:
        """As the model's, computed on the device."""
        there = {key: value.to(self._device) for key, value in conditioning.items()}
        return self._adm.denoise(x.to(self._device), t, there).cpu()

    def guide(self, uncond: Tensor, cond: Tensor, scale: float) -> Tensor:
        """As the model's, on the CPU."""
        return self._adm.guide(uncond, cond, scale)

    def step(self, prediction: Tensor, t: float, x: Tensor, noise: Tensor | None) -> Tensor:
        """As the model's, on the CPU."""
        return self._adm.step(prediction, t, x, noise)

    def caching(self) -> AbstractContextManager[object]:
        """As the model's."""
        return self._adm.caching()

    def decode(self, x: Tensor) -> Tensor:
        """As the model's, computed on the device."""
        return self._adm.decode(x.to(self._device)).cpu()

    def vocode(self, mel: Tensor) -> Tensor:
        """As the model's, computed on the device."""
        return self._adm.vocode(mel.to(self._device)).cpu()
