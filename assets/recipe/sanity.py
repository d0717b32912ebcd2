"""Does the ear hear what it should? The figures behind the tests T1 to T10 of an embedding.

Degradations must move the Fréchet distance in the order of their strength, gain must not move
it, sound families must lie apart, and captions must fit. Clips are of purpose "tests".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from assets.recipe.contrast import Swap, possible_swaps, swapped
from assets.recipe.corpus import SEED_OF, CorpusClip, corpus_clip, single_source_clip
from assets.recipe.degradations import Degradation, degrade
from ptq.metrics.embed.base import Embedder
from ptq.metrics.embed.mini import Mini128
from ptq.metrics.frechet import ReferenceBank, frechet_distance
from ptq.prompts.grammar import caption
from ptq.prompts.lexicon import default_lexicon

Clips: TypeAlias = Sequence[NDArray[np.float32]]

# Mild to severe; units as in Degradation.
GRID: Mapping[Degradation, tuple[float, ...]] = {
    Degradation.NOISE: (30.0, 20.0, 10.0, 0.0),
    Degradation.LOW_PASS: (6000.0, 4500.0, 3000.0, 2000.0, 1000.0),
    Degradation.BITS: (8.0, 6.0, 4.0, 3.0),
    Degradation.CLIPPING: (0.7, 0.3, 0.05),
    Degradation.JITTER: (0.2, 0.4, 0.8),
    Degradation.SMEAR: (2.0, 4.0, 8.0, 16.0),
    Degradation.STRETCH: (1.02, 1.05, 1.1, 1.2, 1.4),
}
# What a good ear just hears.
DETECTION_LIMITS: Mapping[Degradation, float] = {
    Degradation.NOISE: 40.0,
    Degradation.BITS: 10.0,
    Degradation.JITTER: 0.1,
    Degradation.SMEAR: 2.0,
}
FAMILIES = (("human", "animal"), ("music", "things"))
_OFFSET_REFERENCE = 200_000
_OFFSET_FAMILIES = 400_000


def unheard_clips(n: int, seconds: float, offset: int = 0) -> list[CorpusClip]:
    """Clips that no training has seen."""
    return [corpus_clip(SEED_OF["tests"] + offset + i, seconds) for i in range(n)]


def reference_clips(n: int, seconds: float) -> list[CorpusClip]:
    """Clips that share no seed with `unheard_clips`."""
    return unheard_clips(n, seconds, _OFFSET_REFERENCE)


def family_clips(families: Sequence[str], n: int, seconds: float) -> list[NDArray[np.float32]]:
    """Single sources of some families, evenly."""
    ids = [source.id for source in default_lexicon().embedded if source.family in families]
    seeds = SEED_OF["tests"] + _OFFSET_FAMILIES + np.arange(n)
    return [
        single_source_clip(ids[i % len(ids)], int(seed), seconds).samples
        for i, seed in enumerate(seeds)
    ]


def degraded(clips: Clips, kind: Degradation, value: float) -> list[NDArray[np.float32]]:
    """Degrade clips of one length; the same noise whatever the value."""
    generator = torch.Generator().manual_seed(7)
    parts = torch.split(torch.from_numpy(np.stack(clips)), 16)
    return [row.numpy() for part in parts for row in degrade(part, kind, value, generator)]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Distances along one degradation's grid, in units of the reference's variance.

    Attributes:
        paired: FD between the degraded clips and the same clips untouched, by grid value.
        unpaired: FD between the degraded clips and other clips.
    """

    paired: tuple[float, ...]
    unpaired: tuple[float, ...]


def curves(
    embedders: Sequence[Embedder], clips: Clips, reference: Clips
) -> dict[str, dict[Degradation, Curve]]:
    """Graded distances of every embedder on the same degraded clips."""
    banks = {e.id: ReferenceBank.from_embeddings(e.embed(reference)) for e in embedders}
    clean = {e.id: ReferenceBank.from_embeddings(e.embed(clips)) for e in embedders}
    result: dict[str, dict[Degradation, Curve]] = {e.id: {} for e in embedders}
    for kind, grid in GRID.items():
        distances: dict[str, list[tuple[float, float]]] = {e.id: [] for e in embedders}
        for value in grid:
            worse = degraded(clips, kind, value)
            for e in embedders:
                bank, scale = ReferenceBank.from_embeddings(e.embed(worse)), trace(banks[e.id])
                pair = (clean[e.id], banks[e.id])
                first, second = (frechet_distance(other, bank) / scale for other in pair)
                distances[e.id].append((first, second))
        for name, rows in distances.items():
            paired, unpaired = zip(*rows, strict=True)
            result[name][kind] = Curve(paired=paired, unpaired=unpaired)
    return result


def trace(bank: ReferenceBank) -> float:
    """Total variance of a bank, the unit of its distances."""
    return float(np.square(bank.factor).sum())


@dataclass(frozen=True, kw_only=True)
class Detection:
    """A paired distance, and the 95th percentile of what it would be if labels meant nothing."""

    distance: float
    limit: float


def detection(
    embedder: Embedder, clips: Clips, kind: Degradation, *, permutations: int = 100
) -> Detection:
    """Permutation test of a barely audible degradation: labels are swapped within pairs."""
    clean, worse = (
        embedder.embed(clips),
        embedder.embed(degraded(clips, kind, DETECTION_LIMITS[kind])),
    )
    rng = np.random.default_rng(5)
    by_chance = []
    for _ in range(permutations):
        swap = rng.random(len(clean))[:, None] < 0.5
        first, second = np.where(swap, worse, clean), np.where(swap, clean, worse)
        by_chance.append(frechet_distance(first, second))
    return Detection(
        distance=frechet_distance(clean, worse), limit=float(np.quantile(by_chance, 0.95))
    )


def top1_in_labels(ear: Mini128, clips: Sequence[CorpusClip]) -> float:
    """Share of clips whose most likely source sounds in them."""
    best = ear.class_logits(ear.embed([clip.samples for clip in clips])).argmax(1)
    hits = [ear.sources[i] in clip.scene.sources for i, clip in zip(best, clips, strict=True)]
    return float(np.mean(hits))


def matched_share(ear: Mini128, clips: Sequence[CorpusClip]) -> float:
    """Share of pairs of a clip and another clip's caption where the clip's own fits better."""
    audio = ear.audio_embed([clip.samples for clip in clips])
    cosine = audio @ ear.text_embed([clip.text for clip in clips]).T
    other = [[not set(a.scene.sources) & set(b.scene.sources) for b in clips] for a in clips]
    return float((cosine.diagonal()[:, None] > cosine)[np.array(other)].mean())


def swap_share(ear: Mini128, clips: Sequence[CorpusClip], swap: Swap) -> float:
    """Share of clips whose own caption fits better than the one with something swapped."""
    rng = np.random.default_rng(11)
    able = [clip for clip in clips if swap in possible_swaps(clip.scene)]
    audio = ear.audio_embed([clip.samples for clip in able])
    right = ear.text_embed([clip.text for clip in able])
    wrong = ear.text_embed([caption(swapped(clip.scene, swap, rng), rng) for clip in able])
    return float((((right - wrong) * audio).sum(1) > 0.0).mean())
