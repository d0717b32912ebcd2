"""The voice's autoencoder: log-mel ``(1, frames, 64)`` to latents ``(8, frames / 4, 16)``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

from assets.recipe.dataset import SHARD_CLIPS, Dataset, gather
from assets.recipe.mel import normalised_mel
from assets.recipe.training import Training, TrainingSettings

LATENT_CHANNELS = 8
_BATCH = 8
# The autoencoder is convolutional: short crops teach it as much, in half the time.
_CROP_SAMPLES = 20_480
# Per latent value; strong enough that neighbouring latents decode alike, which the denoiser
# (and a quantized denoiser) needs.
_KL_WEIGHT = 5e-4
_LATENT_NOISE = 0.05
# What fits into a core's cache is encoded twice as fast as what does not.
_AT_ONCE = 2


def build_vae() -> AutoencoderKL:
    """AudioLDM's autoencoder in small: ÷4 in both axes, 8 channels."""
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=16,
        mid_block_add_attention=False,
    )


@dataclass(frozen=True, kw_only=True)
class VaeStage:
    """Train the autoencoder on clips of one dataset."""

    dataset: Dataset
    folder: Path
    steps: int
    device: torch.device

    def train(self) -> AutoencoderKL:
        """Train to the end, resuming; returns the averaged model with its scaling factor set."""
        torch.manual_seed(0)
        vae = build_vae().to(self.device, memory_format=torch.channels_last)
        settings = TrainingSettings(
            name="vae", folder=self.folder, steps=self.steps, learning_rate=1e-3
        )
        shards = self.dataset.open()
        trained: AutoencoderKL = Training(vae, settings).run(
            lambda step: _loss(vae, self._crops(shards, step))
        )
        clips = gather(shards, np.arange(200))
        latents = [encode(trained, torch.from_numpy(part)) for part in np.array_split(clips, 10)]
        return standardise_latents_(trained, torch.cat(latents))

    def refine(self, vae: AutoencoderKL) -> AutoencoderKL:
        """Train the decoder on: the encoder stays, and with it every latent ever made.

        The latents get a little noise, as a denoiser's have.
        """
        torch.manual_seed(0)
        vae.requires_grad_(requires_grad=False).to(self.device, memory_format=torch.channels_last)
        decoder = nn.ModuleList((vae.post_quant_conv, vae.decoder)).requires_grad_()
        settings = TrainingSettings(
            name="decoder",
            folder=self.folder,
            steps=self.steps,
            learning_rate=7e-4,
            muon=True,
        )
        shards = self.dataset.open()

        def loss_at(step: int) -> Tensor:
            mel = self._crops(shards, step)
            latents = vae.encode(mel).latent_dist.mode()
            noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(step))
            noisy = latents + _LATENT_NOISE * noise.to(latents.device)
            with torch.autocast(mel.device.type, torch.bfloat16):
                output = vae.decode(noisy).sample
            loss: Tensor = (output.float() - mel).abs().mean()
            return loss

        Training(decoder, settings).run(loss_at)
        return vae

    def _crops(self, shards: Sequence[NDArray[np.int16]], step: int) -> Tensor:
        """Normalised log-mel ``(batch, 1, frames, 64)`` of one step's crops."""
        rng = np.random.default_rng([1, step])
        clips = gather(shards, rng.integers(0, len(self.dataset), _BATCH))
        start = int(rng.integers(0, self.dataset.n_samples - _CROP_SAMPLES))
        crop = torch.from_numpy(clips[:, start : start + _CROP_SAMPLES])
        mel = normalised_mel(crop.to(self.device))[:, None]
        return mel.to(memory_format=torch.channels_last)


@torch.no_grad()
def standardise_latents_(vae: AutoencoderKL, latents: Tensor) -> AutoencoderKL:
    """Centre every latent channel and give all of them one deviation of 1, changing no output.

    One scale for all: the autoencoder gives the channels that carry most the widest range, and a
    denoiser that sees them whitened learned no text in 750 steps. The map is folded into the two
    1×1 convolutions around the latents.

    Args:
        vae: Trained model; changed in place.
        latents: Samples of its latents, ``(n, channels, frames, mels)``.
    """
    mean = latents.mean(dim=(0, 2, 3)).to(vae.device)
    centred = latents - latents.mean(dim=(0, 2, 3), keepdim=True)
    std = float(centred.std())
    before, after = vae.quant_conv, vae.post_quant_conv
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= std
    # The first half of the encoder's output is the mean, the second the log variance.
    n = len(mean)
    before.weight[:n] /= std
    before.bias[:n] = (before.bias[:n] - mean) / std
    before.bias[n:] -= 2 * math.log(std)
    vae.register_to_config(scaling_factor=1.0)
    return vae


def _loss(vae: AutoencoderKL, mel: Tensor) -> Tensor:
    with torch.autocast(mel.device.type, torch.bfloat16):
        posterior = vae.encode(mel).latent_dist
        output = vae.decode(posterior.sample()).sample
    divergence = posterior.kl().float().mean() / posterior.mean[0].numel()
    loss: Tensor = (output.float() - mel).abs().mean() + _KL_WEIGHT * divergence
    return loss


@torch.no_grad()
def encode(vae: AutoencoderKL, samples: Tensor) -> Tensor:
    """Unscaled latents ``(batch, 8, frames / 4, 16)`` of ``(batch, samples)``."""
    device = next(vae.parameters()).device
    mel = normalised_mel(samples.to(device))[:, None].to(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16):
        latents: Tensor = vae.encode(mel).latent_dist.mode()
    return latents.float().cpu()


def encode_dataset(vae: AutoencoderKL, dataset: Dataset) -> list[Path]:
    """Cache the latents of every clip as float16 shards beside the clips; resumable."""
    paths = []
    for index, shard in enumerate(dataset.open()):
        path = dataset.shard_path(index).with_suffix(".latents.npy")
        paths.append(path)
        if path.exists():
            continue
        rows = [
            encode(vae, torch.from_numpy(gather([shard], np.arange(i, i + _AT_ONCE))))
            for i in range(0, SHARD_CLIPS, _AT_ONCE)
        ]
        partial = path.with_suffix(".partial.npy")
        np.save(partial, torch.cat(rows).half().numpy())
        partial.replace(path)
        print(f"latents: {index + 1}/{dataset.n_shards}", flush=True)
    return paths
