"""Attention whose probabilities are a named module, so that they can be observed and quantized."""

from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional as F

from ptq.sites import AttentionProbabilities

PROBABILITIES = "probabilities"


class SiteAttentionProcessor:
    """Scaled dot-product attention with a site for the probabilities.

    While the site is a bare identity without hooks, the fused kernel runs; as soon as somebody
    observes or quantizes it, the probabilities are computed and passed through it.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,  # noqa: ANN401 - diffusers passes call options that this attention has no use for
    ) -> Tensor:
        """Attend ``(batch, tokens, channels)`` to itself or to ``encoder_hidden_states``."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            self._heads(attn, projected)
            for projected in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        # Not len(), which would fix the batch of an exported model.
        batch = hidden_states.shape[0]
        mask = self._mask(attn, attention_mask, batch, context.shape[1])
        site: nn.Module = getattr(attn, PROBABILITIES)
        if type(site) is AttentionProbabilities and not site._forward_hooks:
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, scale=attn.scale
            )
        else:
            scores = query @ key.transpose(-1, -2) * attn.scale
            mixed = site(torch.softmax(scores if mask is None else scores + mask, dim=-1)) @ value
        merged = mixed.transpose(1, 2).flatten(2)
        output: Tensor = attn.to_out[1](attn.to_out[0](merged))
        return output

    @staticmethod
    def _heads(attn: Attention, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], attn.heads, -1).transpose(1, 2)

    @staticmethod
    def _mask(attn: Attention, mask: Tensor | None, batch: int, tokens: int) -> Tensor | None:
        if mask is None:
            return None
        prepared: Tensor = attn.prepare_attention_mask(mask, tokens, batch)
        return prepared.view(batch, attn.heads, -1, prepared.shape[-1])


def expose_probabilities_(module: nn.Module) -> nn.Module:
    """Give every diffusers attention inside ``module`` a probabilities site; in place."""
    for child in module.modules():
        if isinstance(child, Attention) and not hasattr(child, PROBABILITIES):
            child.add_module(PROBABILITIES, AttentionProbabilities())
            child.set_processor(SiteAttentionProcessor())
    return module
