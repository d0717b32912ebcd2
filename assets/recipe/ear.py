"""Training of the ear, `mini128`: classes, degradation levels, and captions, all at once."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from assets.recipe.corpus import SAMPLE_RATE_HZ
from assets.recipe.dataset import Dataset
from assets.recipe.ear_batch import Batch, EarBatches
from assets.recipe.export import WeightsRecord, write_weights
from assets.recipe.training import Training, TrainingSettings
from ptq.metrics.embed.mini_net import MiniNet
from ptq.prompts.lexicon import default_lexicon

_DEGRADATION_WEIGHT = 4.0
_CONTRAST_WEIGHT = 1.0
_SEED = 3


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
    def batches(self) -> EarBatches:
        """What is trained on."""
        return EarBatches(short=self.short, long=self.long)

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
                "words": list(self.batches.vocabulary.words),
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

    def _run(self) -> tuple[MiniNet, Training[MiniNet]]:
        torch.manual_seed(_SEED)
        n_sources = len(default_lexicon().sources)
        net = MiniNet(n_sources=n_sources, vocabulary_size=len(self.batches.vocabulary)).to(
            self.device
        )
        settings = TrainingSettings(
            name="ear", folder=self.folder, steps=self.steps, learning_rate=2e-3, ema_decay=0.998
        )
        training = Training(net, settings)

        def loss_at(step: int) -> Tensor:
            return _loss(net, self.batches.at(np.random.default_rng([_SEED, step])))

        training.run(loss_at)
        return net, training


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
