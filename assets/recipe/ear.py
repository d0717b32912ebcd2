"""Training of the ear, `mini128`: classes, degradation levels, and captions, all at once."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from assets.recipe.contrast import wrong_caption
from assets.recipe.corpus import SAMPLE_RATE_HZ, SEED_OF
from assets.recipe.dataset import Dataset, caption_of, gather, scene_of
from assets.recipe.degradations import GRADES, degrade
from assets.recipe.export import WeightsRecord, write_weights
from assets.recipe.training import Training, TrainingSettings
from ptq.metrics.embed.mini_net import MiniNet
from ptq.metrics.embed.words import Vocabulary
from ptq.prompts.grammar import caption
from ptq.prompts.lexicon import default_lexicon

_BATCH_SECONDS = 80.0
_LONG_SHARE = 0.3
_VOCABULARY_CAPTIONS = 6000
_DEGRADATION_WEIGHT = 4.0
_CONTRAST_WEIGHT = 1.0
_SEED = 3


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step is trained on.

    Attributes:
        clips: `(batch, samples)`; the second half is degraded.
        present: Which sources sound, 0 or 1, `(batch, sources)`.
        levels: Level of every degradation, `(batch, 8)`.
        captions: Tokens of the right captions, then of wrong ones, `(2 · batch, words)`.
        same: Whether a caption of another clip describes this one too, `(batch, batch)`.
    """

    clips: Tensor
    present: Tensor
    levels: Tensor
    captions: Tensor
    same: Tensor


@dataclass(frozen=True, kw_only=True)
class EarStage:
    """Train `mini128` on clips of both lengths.

    Attributes:
        short: Clips of 2.56 s with purpose "ear".
        long: Clips of 5.12 s with purpose "ear".
        folder: Where the training's checkpoints are.
        steps: Optimizer steps.
        device: Where to train.
    """

    short: Dataset
    long: Dataset
    folder: Path
    steps: int
    device: torch.device

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every word that the grammar writes."""
        return Vocabulary.of(caption_of(SEED_OF["ear"] + i, 0) for i in range(_VOCABULARY_CAPTIONS))

    def train(self) -> MiniNet:
        """Train to the end, resuming; returns the averaged network in eval mode."""
        return self._run()[0]

    def write(self, folder: Path) -> None:
        """Train, then write weights and config to `folder` (`assets/ear`)."""
        net, training = self._run()
        record = WeightsRecord(
            name="mini128",
            config={
                "sources": [source.id for source in default_lexicon().sources],
                "words": list(self.vocabulary.words),
                "sample_rate_hz": SAMPLE_RATE_HZ,
            },
            training={
                "purpose": "ear",
                "seed": _SEED,
                "clips": len(self.short) + len(self.long),
                "steps": training.step,
                "seconds": round(training.seconds),
            },
        )
        write_weights(net, folder, record)

    def _run(self) -> tuple[MiniNet, Training]:
        torch.manual_seed(_SEED)
        n_sources = len(default_lexicon().sources)
        net = MiniNet(n_sources=n_sources, vocabulary_size=len(self.vocabulary)).to(self.device)
        settings = TrainingSettings(
            name="ear", folder=self.folder, steps=self.steps, learning_rate=1.5e-3, ema_decay=0.998
        )
        training = Training(net, settings)
        pools = {dataset: dataset.open() for dataset in (self.short, self.long)}

        def loss_at(step: int) -> Tensor:
            rng = np.random.default_rng([_SEED, step])
            dataset = self.long if rng.random() < _LONG_SHARE else self.short
            picks = rng.integers(0, len(dataset), int(_BATCH_SECONDS / dataset.seconds) // 2 * 2)
            clips = torch.from_numpy(gather(pools[dataset], picks))
            batch = make_batch(clips, picks + dataset.first_seed, self.vocabulary, rng)
            return _loss(net, batch)

        training.run(loss_at)
        return net, training


def make_batch(
    clips: Tensor, seeds: NDArray[np.int64], vocabulary: Vocabulary, rng: np.random.Generator
) -> Batch:
    """Degrade the second half of the clips, with known levels, and write the captions."""
    scenes = [scene_of(int(seed)) for seed in seeds]
    ids = {source.id: i for i, source in enumerate(default_lexicon().sources)}
    present = torch.zeros(len(clips), len(ids))
    for row, scene in zip(present, scenes, strict=True):
        row[[ids[source] for source in scene.sources]] = 1.0
    degraded, levels = _degraded(clips, rng)
    right = [caption(scene, rng) for scene in scenes]
    wrong = [wrong_caption(scene, rng) for scene in scenes]
    names = [scene.content_hash() for scene in scenes]
    same = torch.tensor([[a == b for b in names] for a in names])
    return Batch(
        clips=degraded,
        present=present,
        levels=levels,
        captions=vocabulary.tokens(right + wrong),
        same=same,
    )


def _degraded(clips: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    half = len(clips) // 2
    levels = torch.zeros(len(clips), len(GRADES))
    parts = [clips[:half]]
    shares = np.array_split(np.arange(half, len(clips)), len(GRADES))
    for column, (kind, grade) in enumerate(GRADES.items()):
        rows = shares[column]
        if len(rows) == 0:
            continue
        level = float(rng.random())
        parts.append(degrade(clips[rows[0] : rows[-1] + 1], kind, grade.value(level), generator))
        levels[rows, column] = level
    return torch.cat(parts), levels


def _loss(net: MiniNet, batch: Batch) -> Tensor:
    device = net.logit_scale.device
    clips = batch.clips.to(device)
    mel = net.audio.normalised(clips).to(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16):
        embedding, frames = net.audio.tower(mel)
    embedding = embedding.float()
    classes = functional.binary_cross_entropy_with_logits(
        net.class_logits(embedding), batch.present.to(device), reduction="sum"
    )
    levels = functional.mse_loss(
        net.degradation_levels(embedding), batch.levels.to(device), reduction="sum"
    )
    with torch.autocast(device.type, torch.bfloat16):
        text = net.text(batch.captions.to(device))
    audio = net.audio_for_text(embedding, frames)
    contrast = _contrast(net, audio, text, batch.same.to(device))
    return (classes + _DEGRADATION_WEIGHT * levels) / len(clips) + _CONTRAST_WEIGHT * contrast


def _contrast(net: MiniNet, audio: Tensor, text: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE (Radford et al. 2021); the clip's own wrong caption is one more negative.

    Another clip of the same scene is no negative.
    """
    n = len(audio)
    logits = net.similarity(audio, text)
    others = same & ~torch.eye(n, dtype=torch.bool, device=same.device)
    right = logits[:, :n].masked_fill(others, -1e4)
    wrong = logits[:, n:].diagonal()[:, None]
    target = torch.arange(n, device=audio.device)
    to_text = functional.cross_entropy(torch.cat([right, wrong], 1), target)
    to_audio = functional.cross_entropy(right.T, target)
    fine = functional.softplus(wrong[:, 0] - right.diagonal()).mean()
    return 0.5 * (to_text + to_audio) + 0.5 * fine
