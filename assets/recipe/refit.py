"""Gives a trained denoiser another text encoder, and keeps what it knows."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ClapTextModelWithProjection, RobertaTokenizer

from assets.recipe.dataset import Dataset, caption_of
from assets.recipe.denoiser import TextConditionedDenoiser

_CAPTIONS = 12_000
# The empty caption is a tenth of what a denoiser is trained with.
_NULL_SHARE = 0.1
_CHUNK = 256
_RIDGE = 1e-5


@torch.no_grad()
def give_encoder(
    denoiser: TextConditionedDenoiser,
    encoder: ClapTextModelWithProjection,
    tokenizer: RobertaTokenizer,
    dataset: Dataset,
) -> float:
    """Replace the text encoder in place, and fit the class embedding to it by least squares.

    Args:
        denoiser: Trained with another encoder.
        encoder: The one to have; frozen.
        tokenizer: Of both encoders.
        dataset: Its captions are where the new class embedding agrees with the old.

    Returns:
        The share of the old class embedding's variance that the new one repeats.
    """
    texts = [caption_of(dataset.first_seed + i, 0) for i in range(min(_CAPTIONS, len(dataset)))]
    texts += [""] * int(_NULL_SHARE * len(texts))
    layer: nn.Linear = denoiser.unet.class_embedding
    wanted = layer(embeddings(denoiser.text_encoder, tokenizer, texts))
    given = embeddings(encoder, tokenizer, texts)
    inputs = torch.cat([given, torch.ones(len(given), 1)], dim=1).double()
    square = inputs.T @ inputs / len(inputs) + _RIDGE * torch.eye(inputs.shape[1])
    solved = torch.linalg.solve(square, inputs.T @ wanted.double() / len(inputs)).float()
    layer.weight.copy_(solved[:-1].T)
    layer.bias.copy_(solved[-1])
    denoiser.text_encoder = encoder.requires_grad_(False)
    lost = (layer(given) - wanted).var(dim=0).sum() / wanted.var(dim=0).sum()
    return 1.0 - float(lost)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules hold the same parameters, to the precision in which they ship."""
    theirs = other.state_dict()
    return all(
        torch.equal(value.half(), theirs[key].half()) for key, value in one.state_dict().items()
    )


@torch.no_grad()
def embeddings(
    encoder: ClapTextModelWithProjection, tokenizer: RobertaTokenizer, texts: list[str]
) -> Tensor:
    """Unit-length embeddings of captions ``(texts, width)``."""
    parts = []
    for start in range(0, len(texts), _CHUNK):
        tokens = tokenizer(texts[start : start + _CHUNK], padding=True, return_tensors="pt")
        inputs = {key: tokens[key] for key in ("input_ids", "attention_mask")}
        parts.append(F.normalize(encoder(**inputs).text_embeds, dim=-1))
    return torch.cat(parts)
