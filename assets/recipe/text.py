"""The voice's text encoder: a byte-pair tokenizer of our captions and a small CLAP text tower."""

from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor
from torch.nn import functional as F
from transformers import ClapTextConfig, ClapTextModelWithProjection, RobertaTokenizer

from assets.recipe.corpus import SEED_OF
from assets.recipe.dataset import caption_of

EMBEDDING_WIDTH = 128
MAX_TOKENS = 77
_VOCABULARY = 768
_CAPTIONS = 20_000
_CHUNK = 256
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def build_tokenizer(folder: Path) -> RobertaTokenizer:
    """Learn the merges from our captions and write the published file layout; reused if there."""
    if not (folder / "vocab.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        learner = ByteLevelBPETokenizer(lowercase=True)
        captions = (caption_of(SEED_OF["voice"] + i, 0) for i in range(_CAPTIONS))
        learner.train_from_iterator(
            captions, vocab_size=_VOCABULARY, special_tokens=list(_SPECIAL), show_progress=False
        )
        learner.save_model(str(folder))
        RobertaTokenizer.from_pretrained(folder, model_max_length=MAX_TOKENS).save_pretrained(
            folder
        )
    return RobertaTokenizer.from_pretrained(folder)


def build_text_encoder() -> ClapTextModelWithProjection:
    """Two layers, 128 wide; the projection is what AudioLDM conditions on."""
    return ClapTextModelWithProjection(
        ClapTextConfig(
            vocab_size=_VOCABULARY,
            hidden_size=EMBEDDING_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=4 * EMBEDDING_WIDTH,
            projection_dim=EMBEDDING_WIDTH,
            max_position_embeddings=MAX_TOKENS + 3,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def tokens_of(
    tokenizer: RobertaTokenizer, texts: list[str], device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """What a text encoder takes for captions, padded to the longest."""
    tokens = tokenizer(texts, padding=True, return_tensors="pt").to(device)
    return {key: tokens[key] for key in ("input_ids", "attention_mask")}


@torch.no_grad()
def embeddings(
    encoder: ClapTextModelWithProjection, tokenizer: RobertaTokenizer, texts: list[str]
) -> Tensor:
    """Unit-length embeddings of captions ``(texts, width)``."""
    parts = [texts[start : start + _CHUNK] for start in range(0, len(texts), _CHUNK)]
    found = [encoder(**tokens_of(tokenizer, part)).text_embeds for part in parts]
    return F.normalize(torch.cat(found), dim=-1)
