"""Teaches the text encoder to read before it conditions anything.

At first all captions embed alike, and a denoiser that learns at the same time sees no text for
hundreds of steps. So the encoder first learns to name what a caption says: sources in order,
relation, pace, pitch and distance, each by a linear head on its unit-length embedding. It keeps
being asked while the denoiser trains: of what the denoiser's loss rewards late it would else
forget the most, such as which two sources a caption names (``benchmarks.reading``).
"""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ClapTextModelWithProjection, RobertaTokenizer

from assets.recipe.corpus import SEED_OF
from assets.recipe.dataset import caption_of, scene_of
from assets.recipe.text import EMBEDDING_WIDTH, build_text_encoder, tokens_of
from assets.recipe.training import Training, TrainingSettings
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.scene import Distance, Event, Pace, Pitch, Relation, Scene

_BATCH = 64
_SEEDS = 1_000_000
_EVENTS = 3
_WORDINGS = 64
# How much a changed class embedding counts beside a wrong answer.
_FAITHFUL = 3.0
# Unit vectors are close together; the heads see them at this scale.
_SCALE = 12.0


def questions() -> tuple[int, ...]:
    """Number of answers to each question about a scene."""
    n_sources = len(default_lexicon().embedded)
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
    ids = [source.id for source in default_lexicon().embedded]
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

    def __init__(
        self, text_encoder: ClapTextModelWithProjection, heads: nn.Linear | None = None
    ) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.heads = heads or nn.Linear(EMBEDDING_WIDTH, sum(questions()))

    def forward(self, tokens: dict[str, Tensor]) -> Tensor:
        """Unit-length embeddings ``(batch, width)``."""
        return F.normalize(self.text_encoder(**tokens).text_embeds, dim=-1)

    def loss(self, embedding: Tensor, seeds: Sequence[int]) -> Tensor:
        """Mean cross-entropy of all questions about the scenes of corpus seeds."""
        truth = torch.tensor([answers(scene_of(seed)) for seed in seeds], device=embedding.device)
        logits = self.heads(_SCALE * embedding).split(questions(), dim=1)
        losses = [F.cross_entropy(of, column) for of, column in zip(logits, truth.T, strict=True)]
        return torch.stack(losses).mean()


def draw_captions(rng: np.random.Generator, n: int) -> tuple[list[int], list[str]]:
    """Corpus seeds of the voice, and a wording of each."""
    seeds = [int(seed) for seed in SEED_OF["voice"] + rng.integers(0, _SEEDS, n)]
    return seeds, [caption_of(seed, int(rng.integers(_WORDINGS))) for seed in seeds]


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
        reader = Reader(build_text_encoder()).to(self.device)

        def loss_at(step: int) -> Tensor:
            seeds, texts = draw_captions(np.random.default_rng([4, step]), _BATCH)
            return reader.loss(reader(self._tokens(texts)), seeds)

        Training(reader, self._settings("reading")).run(loss_at)
        return reader.text_encoder

    def remind(self, encoder: ClapTextModelWithProjection, class_embedding: nn.Linear) -> nn.Linear:
        """Teach a denoiser's encoder to read again, without the denoiser hearing a difference.

        What the class embedding makes of a caption stays what it was; what it does not pass on
        may change.

        Args:
            encoder: Of a denoiser, trained in place.
            class_embedding: What the denoiser hears the encoder through; stays as it is.

        Returns:
            The heads that ask the encoder.
        """
        torch.manual_seed(0)
        before = copy.deepcopy(encoder).requires_grad_(requires_grad=False).to(self.device)
        layer = copy.deepcopy(class_embedding).requires_grad_(requires_grad=False).to(self.device)
        reader, taught = Reader(encoder).to(self.device), Reader(before).to(self.device)

        def loss_at(step: int) -> Tensor:
            seeds, texts = draw_captions(np.random.default_rng([5, step]), _BATCH)
            tokens, null = self._tokens(texts), self._tokens([""])
            embedding = reader(tokens)
            heard = layer(torch.cat([embedding, reader(null)]))
            wanted = layer(torch.cat([taught(tokens), taught(null)]))
            changed = ((heard - wanted) ** 2).mean() / wanted.var(dim=0).mean()
            loss: Tensor = reader.loss(embedding, seeds) + _FAITHFUL * changed
            return loss

        Training(reader, self._settings(f"reminding-{_digest(encoder)}")).run(loss_at)
        return reader.heads

    def _settings(self, name: str) -> TrainingSettings:
        return TrainingSettings(
            name=name, folder=self.folder, steps=self.steps, learning_rate=1e-3, ema_decay=0.99
        )

    def _tokens(self, texts: list[str]) -> dict[str, Tensor]:
        return tokens_of(self.tokenizer, texts, self.device)


def _digest(module: nn.Module) -> str:
    """By which a training of the very same start is resumed, and of no other."""
    values = [value.detach().cpu().numpy().tobytes() for value in module.state_dict().values()]
    return hashlib.sha256(b"".join(values)).hexdigest()[:8]
