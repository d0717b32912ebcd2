"""Coverage-driven prompt augmentation, and the choice of the few prompts that cover the most.

PTQ4ADM (Vora et al. 2024, arXiv 2409.13894) augments prompts driven by coverage. How it does so,
and when it stops, could not be had; this algorithm is ours. Rounds look for the worst served
reference prompts and the emptiest cells, vary or draw prompts for each, and accept what is new,
still the model's own, and adds to the goal

    F(P) = closeness of every reference prompt to P + ½ share of filled cells + ⅒ balance of lengths

which is submodular, so that the final choice is greedy as well.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ptq.errors import ConfigError
from ptq.prompts.grammar import Prompt
from ptq.prompts.space import FULL_TIMES, PromptCoverage, PromptSpace, Vectors
from ptq.prompts.variations import Variator
from ptq.prompts.words import LENGTHS, length_class, plain_text
from ptq.submodular import Cover, FacilityLocation, Quotas, WeightedSum, lazy_greedy

_WEIGHTS = (1.0, 0.5, 0.1)
_WORST_SERVED = _EMPTIEST = 32
_PER_GAP = 4
_ENOUGH = 0.95
_TOO_ALIKE = 0.95
_NOVEL = 0.90
_MOST_TIMES = 4
_LEAST_GAIN = 1e-3
_PATIENCE = 3


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """A grown set of prompts and how its coverage grew.

    Attributes:
        prompts: Texts, the seeds first.
        rounds: Coverage before the first round and after each.
    """

    prompts: tuple[str, ...]
    rounds: tuple[PromptCoverage, ...]


def without_twins(texts: Iterable[str], space: PromptSpace) -> tuple[str, ...]:
    """Drop empty texts and what differs in case, in spaces or hardly at all from an earlier one."""
    cleaned: dict[str, str] = {}
    for text in texts:
        if key := plain_text(text):
            cleaned.setdefault(key, " ".join(text.split()))
    kept: list[str] = []
    rows = space.vectors(tuple(cleaned.values()))
    taken: list[int] = []
    for index, text in enumerate(cleaned.values()):
        if not taken or float((rows[taken] @ rows[index]).max()) <= _TOO_ALIKE:
            kept.append(text)
            taken.append(index)
    return tuple(kept)


class Augmenter:
    """Grows a prompt set over one space.

    Args:
        space: Reference and embedding.
        scenes: The reference prompts as values; those with a scene can be varied.
        variator: Makes new prompts.
    """

    def __init__(self, space: PromptSpace, scenes: Sequence[Prompt], variator: Variator) -> None:
        self._space, self._scenes, self._variator = space, scenes, variator

    def __call__(self, seeds: Sequence[str], count: int) -> Augmentation:
        """Grow until enough is covered, nothing helps any more, or enough is there to choose from.

        Args:
            seeds: Prompts to begin with; may be none.
            count: How many prompts will be chosen in the end. Four times as many are enough, and
                so many more than the seeds, however many these are.
        """
        texts = list(without_twins(seeds, self._space))
        rounds = [self._space.coverage(texts)]
        idle, most = 0, max(_MOST_TIMES * count, len(texts) + count)
        while not _is_enough(rounds[-1]) and len(texts) < most and idle < _PATIENCE:
            accepted = self._round(texts, count)
            texts += accepted[: most - len(texts)]
            rounds.append(self._space.coverage(texts))
            grown = rounds[-1].near + rounds[-1].cells - rounds[-2].near - rounds[-2].cells
            idle = 0 if grown >= _LEAST_GAIN else idle + 1
        return Augmentation(prompts=tuple(texts), rounds=tuple(rounds))

    def _round(self, texts: Sequence[str], count: int) -> list[str]:
        candidates = list(dict.fromkeys(prompt.text for prompt in self._candidates(texts)))
        if not candidates:
            return []
        vectors = self._space.vectors(candidates)
        goal, known = self._goal(texts, candidates, count)
        own = (vectors @ self._space.targets.T).max(axis=1) >= self._space.stray_cosine
        accepted: list[int] = []
        for index in np.flatnonzero(own):
            near = np.concatenate([known, vectors[accepted]]) @ vectors[index]
            if (not len(near) or near.max() < _NOVEL) and goal.gain(int(index)) > 0:
                goal.add_(int(index))
                accepted.append(int(index))
        return [candidates[index] for index in accepted]

    def _goal(
        self, texts: Sequence[str], candidates: Sequence[str], count: int
    ) -> tuple[WeightedSum, Vectors]:
        """The goal over candidates, with the texts in the set already; and the texts' vectors."""
        everything = (*candidates, *texts)
        goal = coverage_goal(self._space, everything, count)
        for index in range(len(candidates), len(everything)):
            goal.add_(index)
        return goal, self._space.vectors(texts)

    def _candidates(self, texts: Sequence[str]) -> Iterator[Prompt]:
        space = self._space
        served = np.full(len(space.targets), -1.0, dtype=np.float32)
        if texts:
            served = (space.targets @ space.vectors(texts).T).max(axis=1)
        for index in np.argsort(served)[:_WORST_SERVED]:
            prompt = self._scenes[index]
            yield prompt
            if prompt.scene is not None:
                yield from islice(self._variator.near(prompt.scene), _PER_GAP - 1)
        filled = space.filled(texts).sum(axis=0)
        for index in np.argsort(filled, kind="stable")[:_EMPTIEST]:
            if filled[index] < FULL_TIMES:
                yield from islice(self._variator.with_cell(space.cells[index]), _PER_GAP)


def _is_enough(coverage: PromptCoverage) -> bool:
    return coverage.near >= _ENOUGH and coverage.cells >= _ENOUGH


def coverage_goal(space: PromptSpace, texts: Sequence[str], count: int) -> WeightedSum:
    """The goal of a choice among texts, as a submodular function of their indices.

    Args:
        space: Reference and embedding.
        texts: What is chosen from.
        count: How many will be chosen: lengths are balanced for so many.
    """
    similarity = np.maximum(space.targets @ space.vectors(texts).T, 0.0)
    lengths = np.array([LENGTHS.index(length_class(text)) for text in texts], dtype=np.int64)
    quotas = np.full(len(LENGTHS), max(count, 1) / len(LENGTHS))
    return WeightedSum(
        [
            FacilityLocation(similarity),
            Cover(space.filled(texts), times=FULL_TIMES),
            Quotas(lengths, quotas),
        ],
        _WEIGHTS,
    )


def choose_prompts(
    space: PromptSpace, texts: Sequence[str], count: int, kept: int = 0
) -> tuple[str, ...]:
    """Choose the prompts that cover most, best first.

    Args:
        space: Reference and embedding.
        texts: What is chosen from.
        count: How many to choose.
        kept: So many of the first texts are chosen whatever they cover, and stand first.

    Raises:
        ConfigError: If fewer than one is wanted.
    """
    if count < 1:
        raise ConfigError(f"{count} prompts cannot be chosen; ask for 1 or more.")
    goal = coverage_goal(space, texts, count)
    chosen, _ = lazy_greedy(goal, len(texts), count, range(kept))
    return tuple(texts[index] for index in chosen)
