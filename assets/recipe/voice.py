"""Puts the voice together: AudioLDM's diffusers folder layout, float16, in shards of 9 MB."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from transformers import RobertaTokenizer

from assets.recipe.denoiser import TextConditionedDenoiser
from ptq.adms.vocoders.istft import IstftVocoder

SHARD_SIZE = "9MB"
LICENCE = "Apache-2.0"
_CLASSES = {
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "ClapTextModelWithProjection"],
    "tokenizer": ["transformers", "RobertaTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "vocoder": ["ptq.adms.vocoders.istft", "IstftVocoder"],
}


@dataclass(frozen=True, kw_only=True)
class Voice:
    """All trained parts of an embedded AudioLDM."""

    denoiser: TextConditionedDenoiser
    tokenizer: RobertaTokenizer
    vae: AutoencoderKL
    vocoder: IstftVocoder
    scheduler: DDIMScheduler

    @classmethod
    def read(cls, folder: Path) -> "Voice":
        """Read what ``write`` wrote, in float32: the start of a further training."""
        denoiser = TextConditionedDenoiser()
        for name in ("unet", "text_encoder"):
            shipped = getattr(denoiser, name).from_pretrained(folder / name)
            getattr(denoiser, name).load_state_dict(shipped.float().state_dict())
        return cls(
            denoiser=denoiser,
            tokenizer=RobertaTokenizer.from_pretrained(folder / "tokenizer"),
            vae=AutoencoderKL.from_pretrained(folder / "vae").float().eval(),
            vocoder=IstftVocoder.from_pretrained(folder / "vocoder").float(),
            scheduler=DDIMScheduler.from_pretrained(folder / "scheduler"),
        )

    def write(self, folder: Path, *, source: str) -> None:
        """Write the folder that ``ptq.adms.audioldm`` and diffusers both read.

        Args:
            folder: Replaced file by file.
            source: One line on where the weights come from.
        """
        half = torch.float16
        unet = self.denoiser.unet.to(half)
        unet.save_pretrained(folder / "unet", max_shard_size=SHARD_SIZE)
        text_encoder = self.denoiser.text_encoder.to(half)
        text_encoder.save_pretrained(folder / "text_encoder", max_shard_size=SHARD_SIZE)
        self.vae.to(half).save_pretrained(folder / "vae", max_shard_size=SHARD_SIZE)
        _forget_origin(folder / "vae" / "config.json")
        self.vocoder.to(half).save_pretrained(folder / "vocoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        # Published folders hold the two files of the byte-pair model as well.
        self.tokenizer.backend_tokenizer.model.save(str(folder / "tokenizer"))
        self.scheduler.save_pretrained(folder / "scheduler")
        _write_json(folder / "model_index.json", {"_class_name": "AudioLDMPipeline", **_CLASSES})
        about = {"family": "audioldm", "licence": LICENCE, "source": source}
        _write_json(folder / "about.json", about)


def _forget_origin(path: Path) -> None:
    """Take the folder that a part was read from out of its configuration."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("_name_or_path", None)
    _write_json(path, content)


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
