"""Asks the denoiser's way up where in the clip it is, so that every level knows.

Convolutions know a place only by the edges that they have seen, and nothing in the denoiser's loss
rewards the first steps of carrying that inwards: with three levels it blended the events that
should follow each other over the whole clip. The fourth level is 16 frames wide, so that the edges
are near everywhere, and asked for the place directly, every level soon knows it.
"""

import math

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

_SIGNS = 4


def places(frames: int) -> Tensor:
    """What tells a frame from all others, each about as large, ``(4, frames)``."""
    at = torch.linspace(-1.0, 1.0, frames)
    turn = math.pi * at
    waves = torch.stack([torch.cos(turn), torch.sin(turn), torch.cos(2 * turn)])
    return torch.cat([math.sqrt(3) * at[None], math.sqrt(2) * waves])


class Compass(nn.Module):
    """Linear heads that read the place off what every level with attention passes up.

    It watches the UNet from its construction on; a UNet is compiled after that, not before.

    Args:
        unet: Whom to ask.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self._seen: list[Tensor] = []
        levels = [block for block in unet.up_blocks if hasattr(block, "attentions")]
        widths = [block.resnets[-1].out_channels for block in levels]
        self.heads = nn.ModuleList(nn.Conv2d(width, _SIGNS, 1) for width in widths)
        for block in levels:
            block.attentions[-1].register_forward_hook(self._note)

    def _note(self, _module: nn.Module, _inputs: object, output: tuple[Tensor]) -> None:
        self._seen.append(output[0])

    def loss(self) -> Tensor:
        """Mean squared error of the places told in the UNet's last call, summed over levels."""
        losses = []
        for head, seen in zip(self.heads, self._seen, strict=True):
            told: Tensor = head(seen.float())
            wanted = places(told.shape[2]).to(told.device)[None, :, :, None]
            losses.append(F.mse_loss(told, wanted.expand_as(told)))
        self._seen.clear()
        return torch.stack(losses).sum()
