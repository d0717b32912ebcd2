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
from assets.recipe.ear_captions import CaptionStage, contrastive_loss
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
        caption_steps: Steps of the text tower alone, which come after.
    """

    short: Dataset
    long: Dataset
    folder: Path
    steps: int
    device: torch.device
    caption_steps: int = 2000

    @cached_property
    def batches(self) -> EarBatches:
        """What is trained on."""
        return EarBatches(short=self.short, long=self.long)

    def write(self, folder: Path) -> None:
        """Train to the end, resuming, then write weights and config to `folder` (`assets/ear`)."""
        net, training = self._run()
        captions = CaptionStage(
            batches=self.batches, folder=self.folder, steps=self.caption_steps
        ).train(net)
        record = WeightsRecord(
            name="mini128",
            config={
                "sources": [source.id for source in default_lexicon().embedded],
                "words": list(self.batches.vocabulary.words),
                "sample_rate_hz": SAMPLE_RATE_HZ,
            },
            training={
                "purpose": "ear",
                "seed": _SEED,
                "clips": len(self.short) + len(self.long),
                "steps": training.step,
                "caption_steps": captions.step,
                "seconds": round(training.seconds + captions.seconds),
            },
        )
        write_weights(net, folder, record)

    def _run(self) -> tuple[MiniNet, Training[MiniNet]]:
        torch.manual_seed(_SEED)
        n_sources = len(default_lexicon().embedded)
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
    similarity = net.similarity(audio, text)
    contrast = contrastive_loss(similarity, batch.same.to(device), fine_weight=0.5)
    return (classes + _DEGRADATION_WEIGHT * levels) / len(clips) + _CONTRAST_WEIGHT * contrast
