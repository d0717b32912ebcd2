"""The voice's vocoder: spectral distances first, then a short adversarial finish."""

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
from ptq.adms.vocoders.istft import NOISE_FRAMES, IstftVocoder, IstftVocoderConfig

_BATCH, _FINISH_BATCH = 16, 12
# So many clips of a batch come out of the autoencoder, as in generation.
_CODED, _FINISH_CODED = 4, 8
# The critics' share of the finish; feature matching keeps the partials where they are.
_FOOLED, _FEATURES = 0.1, 1.0
_CROP_SAMPLES = 12_800
_RESOLUTIONS = (256, 512, 1024, 2048, 4096)
_MEL_WEIGHT = 0.5
# Keeps the relative error finite on silence.
_NORM_FLOOR = 3.0
_LOG_FLOOR = 1e-4


class Spectra:
    """STFT magnitudes of clips ``(batch, samples)`` at several resolutions, and their log-mel."""

    def __init__(self, samples: Tensor) -> None:
        self.magnitudes = [_magnitude(samples, n_fft) for n_fft in _RESOLUTIONS]
        self.log = [torch.log(magnitude + _LOG_FLOOR) for magnitude in self.magnitudes]
        self.norms = [magnitude.norm(dim=(1, 2)).detach() for magnitude in self.magnitudes]
        self.mel = normalised_mel(samples)

    def distance(self, other: "Spectra", norms: Sequence[Tensor]) -> Tensor:
        """Mean distance from other clips.

        Args:
            other: The other clips.
            norms: To which the difference of the magnitudes is relative.
        """
        total = self.mel.new_zeros(())
        both = zip(self.magnitudes, other.magnitudes, self.log, other.log, norms, strict=True)
        for a, b, log_a, log_b, norm in both:
            relative = (a - b).norm(dim=(1, 2)) / (norm + _NORM_FLOOR)
            total = total + relative.mean() + (log_a - log_b).abs().mean()
        mel_error = (self.mel - other.mel).abs().mean() * MEL_STD
        return total / len(_RESOLUTIONS) + _MEL_WEIGHT * mel_error


def _magnitude(samples: Tensor, n_fft: int) -> Tensor:
    window = torch.hann_window(n_fft, device=samples.device)
    return torch.stft(samples, n_fft, n_fft // 4, window=window, return_complex=True).abs()


def energy_distance(reference: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """How far two independent draws of a synthesiser are from a clip, less how far from each other.

    A distance to the clip alone is least for a synthesiser that draws nothing at random, which
    makes noise buzz; the energy distance (Gritsenko et al. 2020, arXiv 2008.01160) is least for
    one that draws what clips of that kind hold.

    Args:
        reference: Recorded clips ``(batch, samples)``.
        first: Synthesised with one noise.
        second: Synthesised with another.
    """
    with torch.no_grad():
        real = Spectra(reference)
    one, other = Spectra(first), Spectra(second)
    near = one.distance(real, real.norms) + other.distance(real, real.norms)
    return (near - one.distance(other, real.norms)) / 2


@dataclass(frozen=True, kw_only=True)
class VocoderStage:
    """Train the vocoder on crops of one dataset."""

    dataset: Dataset
    folder: Path
    steps: int
    device: torch.device

    def train(self, vae: AutoencoderKL, start: IstftVocoder | None = None) -> IstftVocoder:
        """Train to the end, resuming; returns the averaged model.

        Args:
            vae: Of the voice: a part of every batch is what it makes of the clips.
            start: Weights to begin with where there is nothing to resume.
        """
        torch.manual_seed(0)
        vocoder = (start or IstftVocoder(IstftVocoderConfig())).to(self.device)
        settings = TrainingSettings(
            name="vocoder",
            folder=self.folder,
            steps=self.steps,
            learning_rate=8e-4,
            clip_norm=5.0,
            muon=True,
        )
        shards = self.dataset.open()

        def loss_at(step: int) -> Tensor:
            crop = self._crops(shards, step, _BATCH)
            return energy_distance(crop, *_draws(vocoder, _heard(vae, crop, _CODED), step))

        return Training(vocoder, settings).run(loss_at)

    def finish(self, start: IstftVocoder, vae: AutoencoderKL) -> IstftVocoder:
        """Sharpen a trained vocoder against critics; returns the averaged model."""
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
            first, second = _draws(start, _heard(vae, crop, _FINISH_CODED), step)
            critic, fooled, features = pair.losses(crop, first)
            adversarial = critic + _FOOLED * fooled + _FEATURES * features
            return adversarial + energy_distance(crop, first, second)

        Training(pair, settings).run(loss_at)
        return start

    def _crops(self, shards: Sequence[NDArray[np.int16]], step: int, batch: int) -> Tensor:
        rng = np.random.default_rng([2, step])
        clips = gather(shards, rng.integers(0, len(self.dataset), batch))
        start = int(rng.integers(0, self.dataset.n_samples - _CROP_SAMPLES))
        return torch.from_numpy(clips[:, start : start + _CROP_SAMPLES]).to(self.device)


@torch.no_grad()
def _heard(vae: AutoencoderKL, crop: Tensor, n_coded: int) -> Tensor:
    """Log-mel of clips, the first few as the autoencoder renders them."""
    mel = normalised_mel(crop)
    coded = vae.decode(vae.encode(mel[:n_coded, None]).latent_dist.mode()).sample[:, 0]
    return torch.cat((coded, mel[n_coded:]))


def _draws(vocoder: IstftVocoder, mel: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """The same sounds with two noises; what does not depend on the noise is computed once."""
    hidden = vocoder.trunk(mel)
    tones, first = vocoder.tones(hidden), step * mel.shape[1]
    other = first + NOISE_FRAMES // 2
    return (
        vocoder.transients(hidden, first) + tones,
        vocoder.transients(hidden, other) + tones,
    )
