"""Second part of the ear's training: captions alone, on what the finished audio tower hears.

Pace and pitch are said of few clips, so the first part learns them last. With the audio tower
frozen a step costs a tenth, and no distance, class or bank changes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from assets.recipe.contrast import Swap, possible_swaps, wrong_caption
from assets.recipe.ear_batch import EarBatches
from assets.recipe.training import Training, TrainingSettings
from ptq.metrics.embed.mini_net import MiniNet
from ptq.prompts.grammar import caption
from ptq.prompts.scene import Scene

_BATCH = 48
_EMBEDDED_AT_ONCE = 20
_JOINED_BATCHES = 120
_ATTRIBUTE_SHARE = 0.75
_DROPOUT = 0.1
_SEED = 9


@dataclass(frozen=True, kw_only=True)
class HeardClips:
    """What the caption head sees of some clips `(n, width)`, and what is in them."""

    heard: Tensor
    scenes: list[Scene]


@dataclass(frozen=True, kw_only=True)
class CaptionStage:
    """Train the text tower and the caption head of an ear.

    Attributes:
        batches: Clips of both lengths, and two short ones in turn.
        folder: Where the training's checkpoints are.
        steps: Optimizer steps.
    """

    batches: EarBatches
    folder: Path
    steps: int

    def train(self, net: MiniNet) -> Training[nn.ModuleList]:
        """Train in place to the end, resuming; the audio tower stays as it is."""
        net.requires_grad_(False)
        learnt = nn.ModuleList([net.contrast, net.text]).requires_grad_(True)
        settings = TrainingSettings(
            name="ear-captions",
            folder=self.folder,
            steps=self.steps,
            learning_rate=2e-3,
            ema_decay=0.99,
            weight_decay=0.05,
        )
        training = Training(learnt, settings)
        pools = self._pools(net) if training.step < self.steps else []

        def loss_at(step: int) -> Tensor:
            rng = np.random.default_rng([_SEED, step])
            pool = pools[rng.integers(len(pools))]
            picks = rng.integers(0, len(pool.scenes), _BATCH)
            return self._loss(net, pool.heard[picks], [pool.scenes[i] for i in picks], rng)

        training.run(loss_at)
        return training

    @torch.no_grad()
    def _pools(self, net: MiniNet) -> list[HeardClips]:
        net.eval()
        device = net.logit_scale.device

        def hear(clips: NDArray[np.float32]) -> Tensor:
            return net.heard(*net.audio(torch.from_numpy(clips).to(device)))

        pools = []
        for dataset, scenes in self.batches.scenes.items():
            parts = np.split(np.arange(len(dataset)), len(dataset) // _EMBEDDED_AT_ONCE)
            heard = [hear(self.batches.clips(dataset, picks)) for picks in parts]
            pools.append(HeardClips(heard=torch.cat(heard), scenes=scenes))
        rng = np.random.default_rng(_SEED)
        joined = [self.batches.joined(rng, _EMBEDDED_AT_ONCE) for _ in range(_JOINED_BATCHES)]
        heard = [hear(clips) for clips, _ in joined]
        scenes = [scene for _, part in joined for scene in part]
        # Short clips are half of what is drawn: they are half of what there is.
        return [pools[0], *pools, HeardClips(heard=torch.cat(heard), scenes=scenes)]

    def _loss(
        self, net: MiniNet, heard: Tensor, scenes: list[Scene], rng: np.random.Generator
    ) -> Tensor:
        texts = [caption(scene, rng) for scene in scenes]
        texts += [wrong_caption(scene, rng, _wrong(scene, rng)) for scene in scenes]
        tokens = self.batches.vocabulary.tokens(texts).to(heard.device)
        with torch.autocast(heard.device.type, torch.bfloat16):
            text = net.text(tokens)
        # Dropped by the step's own generator, so that a resumed training drops the same.
        kept = torch.from_numpy(rng.random(heard.shape) >= _DROPOUT).to(heard.device)
        features = heard * kept / (1.0 - _DROPOUT)
        audio = functional.normalize(net.contrast(features), dim=1)
        names = [scene.content_hash() for scene in scenes]
        same = torch.tensor([[a == b for b in names] for a in names], device=heard.device)
        return contrastive_loss(net.similarity(audio, text), same, fine_weight=1.0)


def _wrong(scene: Scene, rng: np.random.Generator) -> Swap | None:
    """Mostly the attribute, where one is said."""
    able = Swap.ATTRIBUTE in possible_swaps(scene)
    return Swap.ATTRIBUTE if able and rng.random() < _ATTRIBUTE_SHARE else None


def contrastive_loss(similarity: Tensor, same: Tensor, *, fine_weight: float) -> Tensor:
    """Symmetric InfoNCE (Radford et al. 2021) with one wrong caption of the clip itself.

    Args:
        similarity: Of n clips with their n captions, then with their n wrong ones, `(n, 2n)`.
        same: Whether a caption describes another clip too, `(n, n)`: then it is no negative.
        fine_weight: Weight of a clip's right caption against its wrong one.
    """
    n = len(similarity)
    others = same & ~torch.eye(n, dtype=torch.bool, device=same.device)
    right = similarity[:, :n].masked_fill(others, -1e4)
    wrong = similarity[:, n:].diagonal()
    target = torch.arange(n, device=similarity.device)
    to_text = functional.cross_entropy(torch.cat([right, wrong[:, None]], 1), target)
    to_audio = functional.cross_entropy(right.T, target)
    fine = functional.softplus(wrong - right.diagonal()).mean()
    return 0.5 * (to_text + to_audio) + fine_weight * fine
