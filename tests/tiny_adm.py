"""A tiny random checkpoint in exactly the layout of AudioLDM's published diffusers folder."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from tokenizers import pre_tokenizers
from transformers import (
    ClapTextConfig,
    ClapTextModelWithProjection,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
)

_WIDTH = 32


def _write_tokenizer(folder: Path) -> int:
    folder.mkdir(parents=True)
    words = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = [("a", "n"), ("t", "h"), ("th", "e")]
    words += ["".join(pair) for pair in merges] + ["<mask>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    RobertaTokenizer.from_pretrained(folder, model_max_length=64).save_pretrained(folder)
    return len(words)


def _text_encoder(vocabulary: int) -> ClapTextModelWithProjection:
    config = ClapTextConfig(
        vocab_size=vocabulary,
        hidden_size=_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        projection_dim=_WIDTH,
        max_position_embeddings=80,
    )
    return ClapTextModelWithProjection(config)


def _unet() -> UNet2DConditionModel:
    channels = (32, 64)
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=channels,
        cross_attention_dim=channels,
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=8,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=_WIDTH,
        class_embeddings_concat=True,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        latent_channels=8,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=0.9,
    )


def _vocoder() -> SpeechT5HifiGan:
    config = SpeechT5HifiGanConfig(
        model_in_dim=64,
        upsample_initial_channel=32,
        upsample_rates=[5, 4, 2, 2, 2],
        upsample_kernel_sizes=[16, 16, 8, 4, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
        normalize_before=False,
    )
    return SpeechT5HifiGan(config)


def write_tiny_audioldm(folder: Path, seed: int = 0) -> Path:
    """Write the folder; the same seed gives the same weights."""
    torch.manual_seed(seed)
    vocabulary = _write_tokenizer(folder / "tokenizer")
    _text_encoder(vocabulary).save_pretrained(folder / "text_encoder")
    _unet().save_pretrained(folder / "unet")
    _vae().save_pretrained(folder / "vae")
    _vocoder().save_pretrained(folder / "vocoder")
    DDIMScheduler(
        beta_start=0.0015,
        beta_end=0.0195,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "AudioLDMPipeline",
        "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "ClapTextModelWithProjection"],
        "tokenizer": ["transformers", "RobertaTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "vocoder": ["transformers", "SpeechT5HifiGan"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder
