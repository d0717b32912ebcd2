"""The stages that make the voice, each starting from what the previous one left."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import ClapTextModelWithProjection, RobertaTokenizer

from assets.recipe.dataset import Dataset
from assets.recipe.denoiser import (
    DenoiserStage,
    LatentData,
    TextConditionedDenoiser,
    build_scheduler,
)
from assets.recipe.history import extended, read_history, states_of, write_history
from assets.recipe.parallel import rank, wait_for_all, world_size
from assets.recipe.reading import ReadingStage
from assets.recipe.text import build_tokenizer
from assets.recipe.vae import VaeStage, encode_dataset
from assets.recipe.vocoder import VocoderStage
from assets.recipe.voice import Voice
from ptq.adms.vocoders.istft import IstftVocoder

_BATCH_SHORT, _BATCH_LONG = 32, 16
# A long batch takes as long as a short one. Short clips teach sounds, long ones how they follow.
_LONG_SHARE = 0.7
_REMINDING_STEPS = 600
_SOURCE = "trained by this project on synthesised sounds; see card.md"


@dataclass(frozen=True, kw_only=True)
class VoiceStages:
    """Trains the parts of the voice and writes the shipped folder.

    Attributes:
        short: Clips of 2.56 s with purpose "voice".
        long: Clips of 5.12 s with purpose "voice".
        folder: Training states.
        target: Where the voice ships.
        device: Where to train.
        from_scratch: Whether to ignore the shipped weights.
        compile: Whether to compile the denoiser for its training.
    """

    short: Dataset
    long: Dataset
    folder: Path
    target: Path
    device: torch.device
    from_scratch: bool
    compile: bool = False

    @cached_property
    def _shipped(self) -> Voice | None:
        if self.from_scratch or not (self.target / "model_index.json").exists():
            return None
        return Voice.read(self.target)

    def train_vae(self, steps: int) -> None:
        """Train the autoencoder, unless one is shipped: all latents depend on it."""
        if self._shipped is None:
            self.short.write()
            stage = VaeStage(
                dataset=self.short, folder=self.folder, steps=steps, device=self.device
            )
            stage.train().save_pretrained(self.folder / "vae")

    def refine_decoder(self, steps: int) -> None:
        """Train the autoencoder's decoder on, with the encoder as it is."""
        self.short.write()
        stage = VaeStage(dataset=self.short, folder=self.folder, steps=steps, device=self.device)
        stage.refine(self.vae()).save_pretrained(self.folder / "vae-refined")

    def vae(self) -> AutoencoderKL:
        """The autoencoder at its latest stage, or the shipped one."""
        for name in ("vae-refined", "vae"):
            if (self.folder / name).exists():
                return AutoencoderKL.from_pretrained(self.folder / name).eval()
        if self._shipped is None:
            raise FileNotFoundError("There is no autoencoder yet; run the stage 'vae' first.")
        return self._shipped.vae

    def train_vocoder(self, steps: int) -> None:
        """Train the vocoder."""
        self.short.write()
        stage = VocoderStage(
            dataset=self.short, folder=self.folder, steps=steps, device=self.device
        )
        start = None if self._shipped is None else self._shipped.vocoder
        stage.train(self.vae().to(self.device), start).save_pretrained(self.folder / "vocoder")

    def finish_vocoder(self, steps: int) -> None:
        """Sharpen the vocoder against critics."""
        self.short.write()
        stage = VocoderStage(
            dataset=self.short, folder=self.folder, steps=steps, device=self.device
        )
        stage.finish(self.vocoder(), self.vae().to(self.device)).save_pretrained(
            self.folder / "vocoder-finished"
        )

    def vocoder(self) -> IstftVocoder:
        """The vocoder at its latest stage, or the shipped one."""
        for name in ("vocoder-finished", "vocoder"):
            if (self.folder / name).exists():
                return IstftVocoder.from_pretrained(self.folder / name)
        if self._shipped is None:
            raise FileNotFoundError("There is no vocoder yet; run the stage 'vocoder' first.")
        return self._shipped.vocoder

    def tokenizer(self) -> RobertaTokenizer:
        """The learnt or shipped tokenizer."""
        if self._shipped is not None:
            return self._shipped.tokenizer
        return build_tokenizer(self.folder / "tokenizer")

    def train_denoiser(self, steps: int) -> None:
        """Train denoiser and text encoder on cached latents."""
        if rank() == 0:
            self._latents()
        wait_for_all()
        half, full = self._latents()
        stage = DenoiserStage(
            half=half,
            full=full,
            full_share=_LONG_SHARE,
            tokenizer=self.tokenizer(),
            folder=self.folder,
            steps=steps,
            device=self.device,
            compile=self.compile,
        )
        start = self._start()
        reading = ReadingStage(
            tokenizer=self.tokenizer(),
            folder=self.folder,
            steps=_REMINDING_STEPS,
            device=self.device,
        )
        heads = reading.remind(start.text_encoder, start.unet.class_embedding)
        trained = stage.train(start, heads)
        if rank() == 0:
            torch.save(trained.state_dict(), self.folder / "denoiser-averaged.pt")

    def _latents(self) -> tuple[LatentData, LatentData]:
        """Short and long clips as latents, rendered and encoded where they are not there."""
        vae = self.vae().to(self.device, memory_format=torch.channels_last)
        data = []
        for dataset, batch in ((self.short, _BATCH_SHORT), (self.long, _BATCH_LONG)):
            dataset.write()
            paths = encode_dataset(vae, dataset)
            share = max(1, batch // world_size())
            data.append(LatentData(dataset=dataset, paths=paths, batch=share))
        return data[0], data[1]

    def train_reading(self, steps: int) -> None:
        """Teach the text encoder to read, unless a trained one is shipped."""
        if self._shipped is None:
            stage = ReadingStage(
                tokenizer=self.tokenizer(), folder=self.folder, steps=steps, device=self.device
            )
            stage.train().save_pretrained(self.folder / "reading")

    def _start(self) -> TextConditionedDenoiser:
        if self._shipped is not None:
            return self._shipped.denoiser
        reader = ClapTextModelWithProjection.from_pretrained(self.folder / "reading")
        return TextConditionedDenoiser(reader)

    def denoiser(self) -> TextConditionedDenoiser:
        """The trained denoiser, or the shipped one."""
        path = self.folder / "denoiser-averaged.pt"
        if not path.exists():
            if self._shipped is None:
                raise FileNotFoundError("There is no denoiser yet; run the stage 'denoiser' first.")
            return self._shipped.denoiser
        denoiser = TextConditionedDenoiser()
        denoiser.load_state_dict(torch.load(path, weights_only=True))
        return denoiser

    def write(self) -> None:
        """Write the shipped folder."""
        voice = Voice(
            denoiser=self.denoiser(),
            tokenizer=self.tokenizer(),
            vae=self.vae(),
            vocoder=self.vocoder(),
            scheduler=build_scheduler(),
        )
        voice.write(self.target, source=_SOURCE)
        history = extended(read_history(self.target), states_of(self.folder))
        write_history(self.target, history)
