"""What stands in front of an ADM: everything is the model's own but what a subclass changes."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from torch import Tensor, nn

from ptq.adms.base import AudioDiffusionModel, Conditioning


class WrappedModel:
    """The ADM protocol, passed on to another model.

    Args:
        adm: The model.
    """

    def __init__(self, adm: AudioDiffusionModel) -> None:
        self._adm = adm
        self.id, self.family = adm.id, adm.family
        self.spec, self.source_hash = adm.spec, adm.source_hash

    def parts(self) -> Mapping[str, nn.Module]:
        """The model's own."""
        return self._adm.parts()

    def splits(self) -> Mapping[str, int]:
        """The model's own."""
        return self._adm.splits()

    def latent_shape(self, batch: int, seconds: float) -> tuple[int, ...]:
        """The model's own."""
        return self._adm.latent_shape(batch, seconds)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """The model's own."""
        return self._adm.encode(prompts)

    def schedule(self, steps: int) -> Sequence[float]:
        """The model's own."""
        return self._adm.schedule(steps)

    def denoise(self, x: Tensor, t: float, conditioning: Mapping[str, Tensor]) -> Tensor:
        """The model's own."""
        return self._adm.denoise(x, t, conditioning)

    def guide(self, uncond: Tensor, cond: Tensor, scale: float) -> Tensor:
        """The model's own."""
        return self._adm.guide(uncond, cond, scale)

    def step(self, prediction: Tensor, t: float, x: Tensor, noise: Tensor | None) -> Tensor:
        """The model's own."""
        return self._adm.step(prediction, t, x, noise)

    def caching(self) -> AbstractContextManager[object]:
        """The model's own."""
        return self._adm.caching()

    def decode(self, x: Tensor) -> Tensor:
        """The model's own."""
        return self._adm.decode(x)

    def vocode(self, mel: Tensor) -> Tensor:
        """The model's own."""
        return self._adm.vocode(mel)
