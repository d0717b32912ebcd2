"""The voice's denoiser: AudioLDM's UNet in small, trained together with its text encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ClapTextModelWithProjection, RobertaTokenizer

from assets.recipe.compass import Compass
from assets.recipe.dataset import SHARD_CLIPS, Dataset, caption_of, scene_of
from assets.recipe.parallel import rank
from assets.recipe.reading import Reader, draw_captions
from assets.recipe.text import EMBEDDING_WIDTH, build_text_encoder, tokens_of
from assets.recipe.training import Training, TrainingSettings
from assets.recipe.vae import LATENT_CHANNELS
from ptq.prompts.scene import Relation

_CHANNELS = (64, 128, 192, 64)
_NULL_SHARE = 0.1
# The error to expect at a signal-to-noise ratio, fitted to a trained model's: every noise level
# then has an equal say (Karras et al. 2024, arXiv 2312.02696, learn it; ours is fixed).
_LEAST_ERROR, _MOST_ERROR, _FALL = 0.1, 0.6, 90.0
_WORDINGS = 64
# Captions a step that the text encoder is asked about; they cost a twentieth of the step.
_ASKED = 24
# How much it counts that every level knows where in the clip it is.
_PLACE_SHARE = 0.3
# With it half of the drawn clips hold two events at once, which is what is learnt last, and a
# quarter two or more in turn; in the corpus it is 15 and 18 %.
_WEIGHTS = {Relation.WHILE: 8.0, Relation.THEN: 3.0}


def build_unet() -> UNet2DConditionModel:
    """AudioLDM's architecture: text enters through the class embedding; attn2 is self-attention."""
    return UNet2DConditionModel(
        sample_size=128,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
        up_block_types=(*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
        block_out_channels=_CHANNELS,
        cross_attention_dim=_CHANNELS,
        layers_per_block=1,
        attention_head_dim=8,
        norm_num_groups=16,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=EMBEDDING_WIDTH,
        class_embeddings_concat=True,
    )


def build_scheduler() -> DDIMScheduler:
    """AudioLDM's noise schedule, with the velocity as the denoiser's target.

    AudioLDM predicts the noise. In its noisiest steps, in which the caption decides what will
    sound, a noise error of 0.2 % is a clean estimate that is off by twice its own power: a model
    this small and briefly trained never heard the caption there. The velocity (Salimans and Ho
    2022, arXiv 2202.00512) asks for the clean estimate itself where noise prevails.
    """
    return DDIMScheduler(
        prediction_type="v_prediction",
        beta_start=0.0015,
        beta_end=0.0195,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


class TextConditionedDenoiser(nn.Module):
    """Text encoder and UNet as one trainable module."""

    def __init__(self, text_encoder: ClapTextModelWithProjection | None = None) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder() if text_encoder is None else text_encoder
        self.unet = build_unet()
        # On a CPU the fused attention's backward pass is slower than plain matrix products.
        self.unet.set_attn_processor(AttnProcessor())
        # A unit-length embedding has entries near 1/sqrt(width); without this the text would
        # start as a whisper beside the time embedding.
        with torch.no_grad():
            self.unet.class_embedding.weight.mul_(EMBEDDING_WIDTH**0.5)

    def forward(self, latents: Tensor, steps: Tensor, tokens: dict[str, Tensor]) -> Tensor:
        """Predict the velocity ``(batch, 8, frames, 16)`` at noisy latents."""
        text = F.normalize(self.text_encoder(**tokens).text_embeds, dim=-1)
        x = latents.to(memory_format=torch.channels_last)
        predicted: Tensor = self.unet(x, steps, None, class_labels=text).sample
        return predicted


@dataclass(frozen=True, kw_only=True)
class LatentData:
    """Cached latents and the captions of one dataset."""

    dataset: Dataset
    paths: Sequence[Path]
    batch: int

    def open(self) -> list[NDArray[np.float16]]:
        """Memory-mapped shards ``(1000, 8, frames, 16)``."""
        return [np.load(path, mmap_mode="r") for path in self.paths]


class PairsMoreOften:
    """Draws clips of a dataset, those of several events more often than they occur.

    Thousands of pairs of sources share what a few tens of single sources need as much.
    """

    def __init__(self, dataset: Dataset) -> None:
        relations = [scene_of(dataset.first_seed + i).relation for i in range(len(dataset))]
        weights = np.array([_WEIGHTS.get(relation, 1.0) for relation in relations])
        self._shares = np.cumsum(weights / weights.sum())

    def of(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        """Indices of ``n`` clips, ``(n,)``."""
        drawn = np.searchsorted(self._shares, rng.random(n), side="right")
        return np.minimum(drawn, len(self._shares) - 1)


@dataclass(frozen=True, kw_only=True)
class DenoiserStage:
    """Train denoiser and text encoder on latents of half- and full-length clips.

    ``compile`` fuses the denoiser's kernels: a step takes three quarters of the time, after
    minutes of compiling with a C++ compiler that must be there.
    """

    half: LatentData
    full: LatentData
    full_share: float
    tokenizer: RobertaTokenizer
    folder: Path
    steps: int
    device: torch.device
    compile: bool = False

    def train(self, start: TextConditionedDenoiser, heads: nn.Linear) -> TextConditionedDenoiser:
        """Train to the end, resuming; returns the averaged module.

        Args:
            start: Weights to begin with where there is nothing to resume.
            heads: What asks the text encoder, so that it goes on reading.
        """
        torch.manual_seed(0)
        model, reader = start.to(self.device), Reader(start.text_encoder, heads).to(self.device)
        model.unet.to(memory_format=torch.channels_last)
        compass = Compass(model.unet).to(self.device)
        if self.compile:
            model.unet.compile()
        settings = TrainingSettings(
            name="denoiser",
            folder=self.folder,
            steps=self.steps,
            learning_rate=1e-3,
            ema_decay=0.998,
            muon=True,
            elementwise=("unet.class_embedding.weight", "reader.heads.weight"),
        )
        shards = {id(data): data.open() for data in (self.half, self.full)}
        draws = {id(data): PairsMoreOften(data.dataset) for data in (self.half, self.full)}
        alphas = build_scheduler().alphas_cumprod.to(self.device)

        def loss_at(step: int) -> Tensor:
            # All processes take clips of one length: none waits for another.
            full = np.random.default_rng([3, step]).random() < self.full_share
            data = self.full if full else self.half
            rng = np.random.default_rng([3, step, rank()])
            indices = draws[id(data)].of(rng, data.batch)
            rows = [shards[id(data)][i // SHARD_CLIPS][i % SHARD_CLIPS] for i in indices]
            latents = torch.from_numpy(np.stack(rows).astype(np.float32))
            texts = [
                ""
                if rng.random() < _NULL_SHARE
                else caption_of(data.dataset.first_seed + int(i), int(rng.integers(_WORDINGS)))
                for i in indices
            ]
            tokens = tokens_of(self.tokenizer, texts, self.device)
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            loss = velocity_loss(model, latents.to(self.device), tokens, alphas, generator)
            seeds, asked = draw_captions(rng, _ASKED)
            read = reader.loss(reader(tokens_of(self.tokenizer, asked, self.device)), seeds)
            return loss + read + _PLACE_SHARE * compass.loss()

        trained = nn.ModuleDict({"unet": model.unet, "reader": reader, "compass": compass})
        Training(trained, settings).run(loss_at)
        return model.eval()


def velocity_loss(
    model: nn.Module,
    latents: Tensor,
    tokens: dict[str, Tensor],
    alphas: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Weighted squared error of the velocities that a model predicts for one batch.

    Args:
        model: Called with noisy latents, time steps and tokens.
        latents: Clean latents ``(batch, 8, frames, 16)``.
        tokens: The captions, as the tokenizer gives them.
        alphas: Cumulative products of the schedule.
        generator: Draws time steps and noise.
    """
    # One from each equal part of the distribution: less noise in the gradient than free draws.
    # The root prefers the noisy end, where captions decide: 59 % of the steps lie above 700.
    n = len(latents)
    places = ((torch.arange(n) + torch.rand(n, generator=generator)) / n) ** 0.4
    steps = (places * len(alphas)).long().to(latents.device)
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    alpha = alphas[steps][:, None, None, None]
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    with torch.autocast(latents.device.type, torch.bfloat16):
        predicted = model(noisy, steps, tokens)
    error = ((predicted.float() - target) ** 2).mean(dim=(1, 2, 3))
    loss: Tensor = (error / expected_error(alpha[:, 0, 0, 0])).mean()
    return loss


def expected_error(alpha: Tensor) -> Tensor:
    """What a trained model's squared velocity error comes to, per noise level.

    Args:
        alpha: Cumulative products of the schedule, any shape.
    """
    snr = alpha / (1 - alpha)
    return _LEAST_ERROR + (_MOST_ERROR - _LEAST_ERROR) / (1 + _FALL * snr)
