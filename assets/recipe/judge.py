"""Training of the judge, the independent classifier, on its own corpus seeds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from assets.recipe.dataset import Dataset, gather, scene_of
from assets.recipe.export import WeightsRecord, write_weights
from assets.recipe.training import Training, TrainingSettings
from ptq.metrics.embed.judge import JudgeNet
from ptq.prompts.lexicon import default_lexicon

_BATCH_SECONDS = 80.0
_LONG_SHARE = 0.4
_MIX_SHARE = 0.3
_NOISE_SHARE = 0.3
_NOISE_SNR_DB = (10.0, 45.0)


def source_shares(seeds: NDArray[np.int64]) -> NDArray[np.float32]:
    """Target mass `(batch, sources)`: equal shares for the sources present in each clip."""
    ids = [source.id for source in default_lexicon().embedded]
    shares = np.zeros((len(seeds), len(ids)), dtype=np.float32)
    for row, seed in zip(shares, seeds, strict=True):
        present = scene_of(int(seed)).sources
        for source in present:
            row[ids.index(source)] += 1.0 / len(present)
    return shares


@dataclass(frozen=True, kw_only=True)
class JudgeStage:
    """Train the judge on clips of both lengths.

    Attributes:
        short: Clips of 2.56 s with purpose "judge".
        long: Clips of 5.12 s with purpose "judge".
        folder: Where the training's checkpoints are.
        steps: Optimizer steps.
        device: Where to train.
    """

    short: Dataset
    long: Dataset
    folder: Path
    steps: int
    device: torch.device

    def train(self) -> JudgeNet:
        """Train to the end, resuming; returns the averaged network in eval mode."""
        return self._run()[0]

    def write(self, folder: Path) -> None:
        """Train, then write weights and config to `folder` (`assets/judge`)."""
        net, training = self._run()
        sources = [source.id for source in default_lexicon().embedded]
        record = WeightsRecord(
            name="judge",
            config={"sources": sources, "sample_rate_hz": 16_000},
            training={
                "purpose": "judge",
                "clips": len(self.short) + len(self.long),
                "steps": training.step,
                "seconds": round(training.seconds),
            },
        )
        write_weights(net, folder, record)

    def _run(self) -> tuple[JudgeNet, Training[JudgeNet]]:
        torch.manual_seed(0)
        net = JudgeNet(len(default_lexicon().embedded)).to(self.device)
        settings = TrainingSettings(
            name="judge", folder=self.folder, steps=self.steps, learning_rate=2e-3, ema_decay=0.995
        )
        training = Training(net, settings)
        pools = {dataset: dataset.open() for dataset in (self.short, self.long)}

        def loss_at(step: int) -> Tensor:
            rng = np.random.default_rng([2, step])
            dataset = self.long if rng.random() < _LONG_SHARE else self.short
            size = int(_BATCH_SECONDS / dataset.seconds)
            picks = rng.integers(0, len(dataset), size)
            clips = torch.from_numpy(gather(pools[dataset], picks)).to(self.device)
            targets = torch.from_numpy(source_shares(picks + dataset.first_seed)).to(self.device)
            return _loss(net, *_augmented(clips, targets, rng), rng)

        training.run(loss_at)
        return net, training


def _augmented(clips: Tensor, targets: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Some clips get another clip mixed in, some get noise: the judge hears imperfect audio."""
    mixed = torch.from_numpy(rng.random(len(clips)) < _MIX_SHARE).to(clips.device)[:, None]
    clips = clips + mixed * clips.roll(1, 0)
    targets = torch.where(mixed, 0.5 * (targets + targets.roll(1, 0)), targets)
    snr_db = rng.uniform(*_NOISE_SNR_DB, len(clips))
    gain = np.where(rng.random(len(clips)) < _NOISE_SHARE, 10 ** (-snr_db / 20), 0.0)
    noise = rng.standard_normal(tuple(clips.shape), dtype=np.float32)
    level = clips.square().mean(1, keepdim=True).sqrt()
    scale = torch.from_numpy(gain.astype(np.float32)).to(clips.device)[:, None] * level
    return clips + scale * torch.from_numpy(noise).to(clips.device), targets


def _loss(net: JudgeNet, clips: Tensor, targets: Tensor, rng: np.random.Generator) -> Tensor:
    features = net.features(clips)
    # A clip is the same sound wherever it starts.
    features = features.roll(int(rng.integers(features.shape[-1])), -1)
    features = features.to(memory_format=torch.channels_last)
    with torch.autocast(clips.device.type, torch.bfloat16):
        logits = net(features)
    return functional.cross_entropy(logits.float(), targets)
