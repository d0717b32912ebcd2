"""Teaches the text encoder to read before it conditions anything.

At first all captions embed alike, and a denoiser that learns at the same time sees no text for
hundreds of steps. So the encoder first learns to name what a caption says: sources in order,
relation, pace, pitch and distance, each by a linear head on its unit-length embedding.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ClapTextModelWithProjection, RobertaTokenizer

from assets.recipe.corpus import SEED_OF
from assets.recipe.dataset import caption_of, scene_of
from assets.recipe.text import EMBEDDING_WIDTH, build_text_encoder
from assets.recipe.training import Training, TrainingSettings
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.scene import Distance, Event, Pace, Pitch, Relation, Scene

_BATCH = 64
_SEEDS = 1_000_000
_EVENTS = 3
# Unit vectors are close together; the heads see them at this scale.
_SCALE = 12.0


def questions() -> tuple[int, ...]:
    """Number of answers to each question about a scene."""
    n_sources = len(default_lexicon().sources)
    of_event = (n_sources + 1, len(Pace), len(Pitch), len(Distance))
    return (len(Relation), *of_event * _EVENTS)


def answers(scene: Scene) -> list[int]:
    """What is true of a scene, one answer a question; a missing event answers "none"."""
    found = [list(Relation).index(scene.relation)]
    for index in range(_EVENTS):
        event = scene.events[index] if index < len(scene.events) else None
        found += _answers_of(event)
    return found


def _answers_of(event: Event | None) -> list[int]:
    ids = [source.id for source in default_lexicon().sources]
    if event is None:
        return [len(ids), 0, 0, 0]
    return [
        ids.index(event.source),
        list(Pace).index(event.pace),
        list(Pitch).index(event.pitch),
        list(Distance).index(event.distance),
    ]


class Reader(nn.Module):
    """A text encoder with one linear head over all questions."""

    def __init__(self) -> None:
        super().__init__()
        self.text_encoder: ClapTextModelWithProjection = build_text_encoder()
        self.heads = nn.Linear(EMBEDDING_WIDTH, sum(questions()))

    def forward(self, tokens: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Logits of every question, ``(batch, answers)`` each."""
        embedding = F.normalize(self.text_encoder(**tokens).text_embeds, dim=-1)
        logits: tuple[Tensor, ...] = self.heads(_SCALE * embedding).split(questions(), dim=1)
        return logits


@dataclass(frozen=True, kw_only=True)
class ReadingStage:
    """Train the text encoder on captions alone."""

    tokenizer: RobertaTokenizer
    folder: Path
    steps: int
    device: torch.device

    def train(self) -> ClapTextModelWithProjection:
        """Train to the end, resuming; returns the averaged encoder."""
        torch.manual_seed(0)
        reader = Reader().to(self.device)
        settings = TrainingSettings(
            name="reading",
            folder=self.folder,
            steps=self.steps,
            learning_rate=1e-3,
            ema_decay=0.99,
        )

        def loss_at(step: int) -> Tensor:
            rng = np.random.default_rng([4, step])
            seeds = SEED_OF["voice"] + rng.integers(0, _SEEDS, _BATCH)
            texts = [caption_of(int(seed), int(rng.integers(64))) for seed in seeds]
            truth = torch.tensor([answers(scene_of(int(seed))) for seed in seeds])
            tokens = self.tokenizer(texts, padding=True, return_tensors="pt").to(self.device)
            inputs = {key: tokens[key] for key in ("input_ids", "attention_mask")}
            losses = [
                F.cross_entropy(logits, column)
                for logits, column in zip(reader(inputs), truth.to(self.device).T, strict=True)
            ]
            return torch.stack(losses).mean()

        Training(reader, settings).run(loss_at)
        return reader.text_encoder
