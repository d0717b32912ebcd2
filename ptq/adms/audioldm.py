"""AudioLDM (Liu et al. 2023, arXiv 2301.12503): the published folder layout, ours in small too.

Text enters through a class embedding that is concatenated to the time embedding; the UNet's
``attn2`` is a second self-attention. diffusers' pipeline class is frozen, so this adapter drives
the components itself.
"""

import hashlib
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, ModelMixin, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ClapTextModelWithProjection, RobertaTokenizer, SpeechT5HifiGan
from transformers.utils import logging as transformers_logging

from ptq.adms.attention import expose_probabilities_
from ptq.adms.base import AudioSpec, Conditioning
from ptq.adms.caching import ProjectionCache, cached_projections
from ptq.adms.vocoders.istft import IstftVocoder
from ptq.errors import ModelError
from ptq.sites import mark_idle_

# A progress bar for a load of milliseconds would only clutter progress on stderr.
transformers_logging.disable_progress_bar()
diffusers_logging.disable_progress_bar()

# What the libraries raise for a file that is missing, cut off, or fits another configuration.
_UNREADABLE = (
    *(OSError, ValueError, KeyError, RuntimeError),
    *(SafetensorError, pickle.UnpicklingError),
)
FAMILY = "audioldm"
_MEL_FRAMES_PER_SECOND = 100
_TEXT_INPUTS = ("input_ids", "attention_mask")
_COMPONENTS = ("scheduler", "text_encoder", "tokenizer", "unet", "vae", "vocoder")
_VOCODERS: dict[str, Any] = {"IstftVocoder": IstftVocoder, "SpeechT5HifiGan": SpeechT5HifiGan}


class AudioLDM:
    """The ADM protocol for one AudioLDM folder."""

    family = FAMILY

    def __init__(self, adm_id: str, folder: Path) -> None:
        index = _read_index(folder)
        self.id = adm_id
        self.source_hash = hash_weights(folder)
        self.tokenizer = _tokenizer(folder / "tokenizer")
        self.text_encoder: nn.Module = _part(ClapTextModelWithProjection, folder / "text_encoder")
        self.unet: Any = expose_probabilities_(_part(UNet2DConditionModel, folder / "unet"))
        # Its wide convolutions are a sixth faster with the channels last; the UNet's are not.
        self.vae = _part(AutoencoderKL, folder / "vae").to(memory_format=torch.channels_last)
        # Only training encodes sounds; generation starts from noise.
        for part in (self.vae.encoder, self.vae.quant_conv):
            if part is not None:
                mark_idle_(part)
        self.vocoder = _part(_VOCODERS[index["vocoder"][1]], folder / "vocoder")
        self.scheduler = _read(DDIMScheduler, folder / "scheduler")
        self.spec = AudioSpec(
            sample_rate_hz=int(self.vocoder.config.sampling_rate),
            channels=1,
            default_steps=20,
            default_guidance=float(index.get("default_guidance", 2.5)),
            default_seconds=5.12,
            max_seconds=10.24,
        )

    def parts(self) -> Mapping[str, nn.Module]:
        """Modules by part name."""
        return {
            "text_encoder": self.text_encoder,
            "denoiser": self.unet,
            "vae": self.vae,
            "vocoder": self.vocoder,
        }

    def splits(self) -> Mapping[str, int]:
        """Where the skip half begins in the inputs of the up blocks' convolutions.

        An up block concatenates ``[hidden, skip]``; hidden is what the previous resnet put out.
        """
        hidden = self.unet.mid_block.resnets[-1].out_channels
        found: dict[str, int] = {}
        for b, block in enumerate(self.unet.up_blocks):
            for r, resnet in enumerate(block.resnets):
                for layer in ("conv1", "conv_shortcut"):
                    found[f"denoiser.up_blocks.{b}.resnets.{r}.{layer}"] = hidden
                hidden = resnet.out_channels
        return found

    def caching(self) -> AbstractContextManager[ProjectionCache]:
        """Keep the projections of the time, and of the text beside it."""
        if not self.unet.config.class_embeddings_concat:
            # The text is added to the time, and cannot be told from it any more.
            return cached_projections({})
        width = int(self.unet.time_embedding.linear_2.out_features)
        return cached_projections(self.parts(), time_width=width)

    def latent_shape(self, batch: int, seconds: float) -> tuple[int, ...]:
        """``(batch, channels, frames / 4, mels / 4)``."""
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        frames = -(-round(seconds * _MEL_FRAMES_PER_SECOND) // factor)
        mels = int(getattr(self.vocoder.config, "model_in_dim", 64)) // factor
        return (batch, int(self.unet.config.in_channels), frames, mels)

    @torch.inference_mode()
    def _embed(self, prompt: str) -> Tensor:
        # One prompt at a time: the embedding of a prompt must not depend on its neighbours'
        # padding, or a batch would not repeat bit for bit.
        tokens = self.tokenizer(prompt, truncation=True, return_tensors="pt")
        inputs = {key: tokens[key] for key in _TEXT_INPUTS}
        return F.normalize(self.text_encoder(**inputs).text_embeds, dim=-1)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Unit-length text embeddings ``(batch, width)``; the null prompt is ``""``."""
        cond = torch.cat([self._embed(prompt) for prompt in prompts])
        null = self._embed("").expand_as(cond)
        return Conditioning(cond={"class_labels": cond}, uncond={"class_labels": null})

    def schedule(self, steps: int) -> Sequence[float]:
        """DDIM time steps, first to last."""
        self.scheduler.set_timesteps(steps)
        return [int(t) for t in self.scheduler.timesteps]

    def denoise(self, x: Tensor, t: float, conditioning: Mapping[str, Tensor]) -> Tensor:
        """Predict the scheduler's target for ``(batch, channels, frames, mels)``."""
        predicted: Tensor = self.unet(x, t, encoder_hidden_states=None, **conditioning).sample
        return predicted

    def guide(self, uncond: Tensor, cond: Tensor, scale: float) -> Tensor:
        """Classifier-free guidance (Ho & Salimans 2022, eq. 6, in diffusers' scale)."""
        return uncond + scale * (cond - uncond)

    def step(self, prediction: Tensor, t: float, x: Tensor, noise: Tensor | None) -> Tensor:  # noqa: ARG002 - deterministic solver
        """One deterministic DDIM step."""
        advanced: Tensor = self.scheduler.step(prediction, int(t), x, eta=0.0).prev_sample
        return advanced

    @torch.inference_mode()
    def decode(self, x: Tensor) -> Tensor:
        """Latents to log-mel ``(batch, frames, mels)``."""
        mel: Tensor = self.vae.decode(x / self.vae.config.scaling_factor).sample
        return mel[:, 0]

    @torch.inference_mode()
    def vocode(self, mel: Tensor) -> Tensor:
        """Log-mel to samples ``(batch, samples)``."""
        samples: Tensor = self.vocoder(mel)
        return samples


def _part(kind: Any, folder: Path) -> Any:  # noqa: ANN401 - component classes of two libraries
    """Load one component in float32, whatever precision its file has."""
    if kind is IstftVocoder:
        return _read(IstftVocoder, folder)
    options = {"torch_dtype": torch.float32, "output_loading_info": True}
    if issubclass(kind, ModelMixin):
        # Without accelerate diffusers would warn that it falls back to exactly this.
        options["low_cpu_mem_usage"] = False
    module, info = _read(kind, folder, local_files_only=True, **options)
    # Both libraries would go on with random numbers; old uploads may lack buffers, which is fine.
    missing = set(info["missing_keys"]) & dict(module.named_parameters()).keys()
    if missing:
        raise ModelError(
            f"The component {folder.name!r} in {folder.parent} lacks {min(missing)!r}; "
            "download the folder again."
        )
    for tensor in (*module.parameters(), *module.buffers()):
        # A mapped file's tensors lie unaligned, where kernels sum in another order than on the
        # aligned ones of a copy: the copy of a model would not repeat its audio bit for bit.
        tensor.data = tensor.data.clone()
    return module.eval().requires_grad_(requires_grad=False)


def _tokenizer(folder: Path) -> Any:  # noqa: ANN401 - transformers is untyped
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        # transformers would go on with an empty vocabulary.
        raise ModelError(f"{folder} has no vocabulary; download the folder again.")
    return _read(RobertaTokenizer, folder)


def _read(kind: Any, folder: Path, **options: Any) -> Any:  # noqa: ANN401 - as above
    try:
        return kind.from_pretrained(folder, **options)
    except _UNREADABLE as error:
        what = str(error).partition("\n")[0]
        raise ModelError(
            f"The component {folder.name!r} cannot be read from {folder.parent} ({what}); "
            "download the folder again."
        ) from error


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    if not path.is_file():
        raise ModelError(
            f"{folder} has no model_index.json; name a folder in AudioLDM's diffusers layout."
        )
    try:
        index: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}); download the folder again.") from error
    missing = [name for name in _COMPONENTS if name not in index or not (folder / name).is_dir()]
    if index.get("_class_name") != "AudioLDMPipeline" or missing:
        raise ModelError(
            f"{folder} is no AudioLDM folder (missing: {', '.join(missing) or 'nothing'}, class: "
            f"{index.get('_class_name')}); name one whose model_index.json says AudioLDMPipeline."
        )
    vocoder = (index["vocoder"] or [None])[-1] if isinstance(index["vocoder"], list) else None
    if vocoder not in _VOCODERS:
        raise ModelError(
            f"The vocoder class {vocoder!r} is unknown; this version reads {', '.join(_VOCODERS)}."
        )
    return index


def _weight_files(folder: Path) -> Iterator[Path]:
    for pattern in ("*/*.safetensors", "*/*.bin"):
        yield from sorted(folder.glob(pattern))


def hash_weights(folder: Path) -> str:
    """SHA-256 over the components' weights and configurations, and over the tokenizer."""
    digest = hashlib.sha256()
    settings = {*folder.glob("*/*config.json"), *folder.glob("tokenizer/*")}
    for path in (*_weight_files(folder), *sorted(settings)):
        if path.is_dir():  # of an editor, beside the tokenizer's files
            continue
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
