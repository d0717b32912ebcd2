"""What the ear is trained on: clips half of which are made worse, with right and wrong captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assets.recipe.contrast import wrong_caption
from assets.recipe.corpus import SEED_OF
from assets.recipe.dataset import Dataset, caption_of, gather, scene_of
from assets.recipe.degradations import GRADES, degrade
from ptq.metrics.embed.words import Vocabulary
from ptq.prompts.grammar import caption
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.scene import Relation, Scene

_BATCH_SECONDS = 80.0
_LONG_SHARE = 0.2
# Of two clips one after the other the corpus has too few to learn order from.
_JOINED_SHARE = 0.25
_VOCABULARY_CAPTIONS = 6000


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
class EarBatches:
    """Batches of clips of 2.56 s (`short`) and 5.12 s (`long`, or two short ones in turn)."""

    short: Dataset
    long: Dataset

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every word that the grammar writes."""
        return Vocabulary.of(caption_of(SEED_OF["ear"] + i, 0) for i in range(_VOCABULARY_CAPTIONS))

    @cached_property
    def _shards(self) -> dict[Dataset, list[NDArray[np.int16]]]:
        return {dataset: dataset.open() for dataset in (self.short, self.long)}

    @cached_property
    def scenes(self) -> dict[Dataset, list[Scene]]:
        """What is in every clip."""
        return {
            dataset: [scene_of(dataset.first_seed + i) for i in range(len(dataset))]
            for dataset in (self.short, self.long)
        }

    @cached_property
    def _singles(self) -> NDArray[np.int64]:
        scenes = self.scenes[self.short]
        found = [i for i, scene in enumerate(scenes) if scene.relation is Relation.SINGLE]
        return np.asarray(found, dtype=np.int64)

    def at(self, rng: np.random.Generator) -> Batch:
        """Draw a batch: about 80 s of audio."""
        kind = rng.random()
        if kind < _JOINED_SHARE:
            clips, scenes = self.joined(rng, int(_BATCH_SECONDS / self.long.seconds))
        else:
            dataset = self.long if kind < _JOINED_SHARE + _LONG_SHARE else self.short
            picks = rng.integers(0, len(dataset), int(_BATCH_SECONDS / dataset.seconds))
            clips = self.clips(dataset, picks)
            scenes = [self.scenes[dataset][i] for i in picks]
        return make_batch(torch.from_numpy(clips), scenes, self.vocabulary, rng)

    def clips(self, dataset: Dataset, picks: NDArray[np.int64]) -> NDArray[np.float32]:
        """Clips by index, `(batch, samples)`."""
        return gather(self._shards[dataset], picks)

    def joined(self, rng: np.random.Generator, n: int) -> tuple[NDArray[np.float32], list[Scene]]:
        """Draw pairs of short single sources and put one after the other, `(n, samples)`."""
        scenes = self.scenes[self.short]
        first = rng.choice(self._singles, n)
        second = rng.choice(self._singles, n)
        for row in range(n):
            while scenes[first[row]].sources == scenes[second[row]].sources:
                second[row] = rng.choice(self._singles)
        halves = [self.clips(self.short, picks) for picks in (first, second)]
        joined = [
            Scene(events=scenes[a].events + scenes[b].events, relation=Relation.THEN)
            for a, b in zip(first, second, strict=True)
        ]
        return np.concatenate(halves, axis=1), joined


def make_batch(
    clips: Tensor, scenes: Sequence[Scene], vocabulary: Vocabulary, rng: np.random.Generator
) -> Batch:
    """Degrade the second half of the clips, with known levels, and write the captions."""
    ids = {source.id: i for i, source in enumerate(default_lexicon().embedded)}
    present = torch.zeros(len(clips), len(ids))
    for row, scene in zip(present, scenes, strict=True):
        row[[ids[source] for source in scene.sources]] = 1.0
    degraded, levels = _degraded(clips, rng)
    right = [caption(scene, rng) for scene in scenes]
    wrong = [wrong_caption(scene, rng) for scene in scenes]
    names = [scene.content_hash() for scene in scenes]
    return Batch(
        clips=degraded,
        present=present,
        levels=levels,
        captions=vocabulary.tokens(right + wrong),
        same=torch.tensor([[a == b for b in names] for a in names]),
    )


def _degraded(clips: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The clips, the second half made worse in turn by every kind, and the levels."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    half = len(clips) // 2
    levels = torch.zeros(len(clips), len(GRADES))
    parts = [clips[:half]]
    order = rng.permutation(len(GRADES))
    kinds = list(GRADES)
    for column, rows in zip(
        order, np.array_split(np.arange(half, len(clips)), len(GRADES)), strict=True
    ):
        if len(rows) == 0:
            continue
        level = float(rng.random())
        kind = kinds[column]
        chosen = clips[rows[0] : rows[-1] + 1]
        parts.append(degrade(chosen, kind, GRADES[kind].value(level), generator))
        levels[rows, column] = level
    return torch.cat(parts), levels
