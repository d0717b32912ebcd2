"""What an ADM's denoiser sees of a prompt, as one vector a prompt."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ptq.adms.base import AudioDiffusionModel
from ptq.errors import ModelError

_MASKS = ("encoder_attention_mask", "attention_mask")
_VECTOR, _TOKENS = 2, 3


def embed_prompts(adm: AudioDiffusionModel, prompts: Sequence[str]) -> NDArray[np.float32]:
    """Embed prompts with the ADM's own text encoder, ``(prompts, width)`` float32.

    A model that is conditioned on one vector a prompt gives that vector, one that attends to
    tokens their mean over the tokens that are not padding.

    Raises:
        ModelError: If nothing the denoiser is given looks like either.
    """
    cond = adm.encode(prompts).cond
    values = next((v for v in cond.values() if v.is_floating_point() and v.ndim == _VECTOR), None)
    if values is None:
        tokens = next((v for v in cond.values() if v.ndim == _TOKENS), None)
        if tokens is None:
            raise ModelError(
                f"{adm.id} gives its denoiser no text that could be measured; draw prompts instead"
                " of covering with them."
            )
        mask = next((cond[name] for name in _MASKS if name in cond), None)
        weights = tokens.new_ones(tokens.shape[:2]) if mask is None else mask.to(tokens.dtype)
        weighted = (tokens * weights[..., None]).sum(dim=1)
        values = weighted / weights.sum(dim=1, keepdim=True).clamp(min=1.0)
    found: NDArray[np.float32] = values.detach().float().cpu().numpy()
    return found
