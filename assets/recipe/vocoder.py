"""The voice's vocoder: spectral losses first, then a short adversarial finish."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from assets.recipe.adversary import AdversarialVocoder
from assets.recipe.dataset import Dataset, gather
from assets.recipe.mel import MEL_STD, normalised_mel
from assets.recipe.training import Training, TrainingSettings
from ptq.adms.vocoders.istft import IstftVocoder, IstftVocoderConfig

_BATCH, _FINISH_BATCH = 16, 12
# The critics' share of the finish; feature matching keeps the partials where they are.
_FOOLED, _FEATURES = 0.1, 1.0
_CROP_SAMPLES = 12_800
_RESOLUTIONS = (256, 512, 1024, 2048)
# Keeps the relative error finite on silence.
_NORM_FLOOR = 3.0
_LOG_FLOOR = 1e-4


def spectral_loss(reference: Tensor, estimate: Tensor) -> Tensor:
    """Multi-resolution STFT loss of ``(batch, samples)``: relative magnitude and log magnitude."""
    total = reference.new_zeros(())
    for n_fft in _RESOLUTIONS:
        window = torch.hann_window(n_fft, device=reference.device)
        a, b = (
            torch.stft(x, n_fft, n_fft // 4, window=window, return_complex=True).abs()
            for x in (reference, estimate)
        )
        relative = (a - b).norm(dim=(1, 2)) / (a.norm(dim=(1, 2)) + _NORM_FLOOR)
        log = (torch.log(a + _LOG_FLOOR) - torch.log(b + _LOG_FLOOR)).abs().mean()
        total = total + relative.mean() + log
    return total / len(_RESOLUTIONS)


@dataclass(frozen=True, kw_only=True)
class VocoderStage:
    """Train the vocoder on crops of one dataset."""

    dataset: Dataset
    folder: Path
    steps: int
    device: torch.device

    def train(self, start: IstftVocoder | None = None) -> IstftVocoder:
        """Train to the end, resuming; returns the averaged model.

        Args:
            start: Weights to begin with where there is nothing to resume.
        """
        torch.manual_seed(0)
        vocoder = (start or IstftVocoder(IstftVocoderConfig())).to(self.device)
        settings = TrainingSettings(
            name="vocoder",
            folder=self.folder,
            steps=self.steps,
            learning_rate=6e-4,
            betas=(0.8, 0.99),
            clip_norm=5.0,
        )
        shards = self.dataset.open()

        def loss_at(step: int) -> Tensor:
            crop = self._crops(shards, step, _BATCH)
            mel = normalised_mel(crop)
            return _fidelity(crop, mel, vocoder(mel))

        return Training(vocoder, settings).run(loss_at)

    def finish(self, start: IstftVocoder, vae: AutoencoderKL) -> IstftVocoder:
        """Sharpen a trained vocoder against critics; returns the averaged model.

        Half of every batch is what the autoencoder makes of the clip, as in generation.
        """
        torch.manual_seed(0)
        pair = AdversarialVocoder(start).to(self.device)
        settings = TrainingSettings(
            name="vocoder-finish",
            folder=self.folder,
            steps=self.steps,
            learning_rate=3e-4,
            betas=(0.8, 0.99),
            clip_norm=5.0,
        )
        shards = self.dataset.open()

        def loss_at(step: int) -> Tensor:
            crop = self._crops(shards, step, _FINISH_BATCH)
            mel = normalised_mel(crop)
            with torch.no_grad():
                half = mel[: _FINISH_BATCH // 2, None]
                coded = vae.decode(vae.encode(half).latent_dist.mode()).sample[:, 0]
            estimate = pair.vocoder(torch.cat((coded, mel[_FINISH_BATCH // 2 :])))
            critic, fooled, features = pair.losses(crop, estimate)
            return critic + _FOOLED * fooled + _FEATURES * features + _fidelity(crop, mel, estimate)

        Training(pair, settings).run(loss_at)
        return start

    def _crops(self, shards: Sequence[NDArray[np.int16]], step: int, batch: int) -> Tensor:
        rng = np.random.default_rng([2, step])
        clips = gather(shards, rng.integers(0, len(self.dataset), batch))
        start = int(rng.integers(0, self.dataset.n_samples - _CROP_SAMPLES))
        return torch.from_numpy(clips[:, start : start + _CROP_SAMPLES]).to(self.device)


def _fidelity(crop: Tensor, mel: Tensor, estimate: Tensor) -> Tensor:
    mel_error = (normalised_mel(estimate) - mel).abs().mean() * MEL_STD
    return spectral_loss(crop, estimate) + 0.5 * mel_error
