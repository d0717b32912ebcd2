"""An ADM whose heavy parts compute on a GPU, for benchmarks that a CPU would take days for.

Text, noise, solver and guidance stay on the CPU: what is drawn does not depend on the device.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.wrapped import WrappedModel

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


class Placed(WrappedModel):
    """A copy of a model on another device; tensors come and go on the CPU.

    Args:
        adm: The model, which stays where it is.
        device: Where denoiser, autoencoder and vocoder compute.
    """

    def __init__(self, adm: AudioDiffusionModel, device: torch.device) -> None:
        super().__init__(copy.deepcopy(adm))
        self._device = device
        for name, part in self.parts().items():
            if name in _HEAVY:
                part.to(device)

    def denoise(self, x: Tensor, t: float, conditioning: Mapping[str, Tensor]) -> Tensor:
        """As the model's, computed on the device."""
        there = {key: value.to(self._device) for key, value in conditioning.items()}
        return super().denoise(x.to(self._device), t, there).cpu()

    def decode(self, x: Tensor) -> Tensor:
        """As the model's, computed on the device."""
        return super().decode(x.to(self._device)).cpu()

    def vocode(self, mel: Tensor) -> Tensor:
        """As the model's, computed on the device."""
        return super().vocode(mel.to(self._device)).cpu()
