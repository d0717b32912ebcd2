"""Sets of states with disjoint purposes: what one was fitted to, another judges."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.registry import lexicon_of
from ptq.adms.sampling import SamplingSettings, ShouldStop, never_stop
from ptq.calibration.states import (
    Progress,
    StatePool,
    StateRecorder,
    StateSet,
    all_states,
    no_progress,
)
from ptq.prompts.grammar import Prompt
from ptq.prompts.suites import Suite, draw_suite
from ptq.prompts.words import plain_text

# Far from the seeds that people choose for the set that ranges are measured on.
_SEED = 8_000_000


class Purpose(enum.Enum):
    """What a set of states is for; no state serves two, but where there is only one.

    Validation judges ranges, rounding and bits, none of which saw it. The sampler's correction,
    which those judgements do not involve, is fitted on it.
    """

    STATISTICS = "statistics"
    RECONSTRUCTION = "reconstruction"
    SENSITIVITY = "sensitivity"
    VALIDATION = "validation"


# Scenes that ranges and rounding never use stand in one row: these judge whole models, and so many
# of the others single layers, those with new sounds first, for layers differ in what they serve.
_VALIDATION, _SENSITIVITY = slice(8, 24), 40
_NOISE = {Purpose.SENSITIVITY: _SEED, Purpose.VALIDATION: _SEED + 8}
# Plain scenes come again in other words: so many times the prompts that are wanted are drawn.
_ROOM = 2


def spread(candidates: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Choose states at random, so that each step has as many as another, or one more.

    A step whose states run out has fewer.

    Args:
        candidates: Pairs of prompt and step, ``(n, 2)``.
        count: How many; all of them if there are fewer.
        seed: Of the choice.
    """
    shuffled = np.random.default_rng(seed).permutation(candidates)
    seen: dict[int, int] = {}
    turns = np.zeros(len(shuffled), dtype=np.int64)
    for i, step in enumerate(shuffled[:, 1].tolist()):
        turns[i] = seen[step] = seen.get(step, -1) + 1
    return shuffled[np.argsort(turns, kind="stable")[:count]]


def shares(pool: StatePool, statistics: int, reconstruction: int) -> tuple[int, int]:
    """How many states each of the two gets: as asked, or in proportion where there are too few."""
    total = len(pool.prompts) * pool.n_steps
    if statistics + reconstruction <= total:
        return statistics, reconstruction
    first = round(total * statistics / (statistics + reconstruction))
    first = min(max(first, 1), max(total - 1, 1))
    return first, total - first


def rest_of(pool: StatePool, chosen: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """States for reconstruction: those that no range rests on, spread over the steps.

    A pool of one state has no rest; it serves both.
    """
    taken = set(map(tuple, chosen.tolist()))
    left = [pair for pair in all_states(pool).tolist() if tuple(pair) not in taken]
    if not left:
        return chosen
    return spread(np.array(left, dtype=np.int64).reshape(-1, 2), count, seed)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Records states of prompts that nothing else is fitted to, and no two of one scene.

    They are of suite A: scenes that calibration draws or chooses are of another suite.

    Attributes:
        adm: The full-precision model.
        sampling: The deployed sampler's settings.
        apart_from: Prompts that must not come again.
        batch_size: Clips sampled at once.
        progress: Told after every batch of clips.
        should_stop: Asked before every denoising step.
    """

    adm: AudioDiffusionModel
    sampling: SamplingSettings
    apart_from: Sequence[str]
    batch_size: int = 4
    progress: Progress = no_progress
    should_stop: ShouldStop = never_stop

    def __call__(self, purpose: Purpose, states: int = 64) -> StateSet:
        """Record the set of one purpose.

        Args:
            purpose: Sensitivity or validation; the others are parts of a calibration.
            states: How many states, spread over the steps.

        Raises:
            Cancelled: As soon as ``should_stop`` says so.
        """
        held_out = _of_validation if purpose is Purpose.VALIDATION else _of_sensitivity
        recorder = StateRecorder(
            adm=self.adm,
            settings=self.sampling,
            seed=_NOISE[purpose],
            batch_size=self.batch_size,
            # What is fitted step by step needs each of them; these prompts are few.
            most_steps=self.sampling.steps,
            progress=self.progress,
            should_stop=self.should_stop,
        )
        pool = recorder.record([prompt.text for prompt in held_out(self._scenes())])
        return StateSet.of(pool, spread(all_states(pool), states, recorder.seed))

    def _scenes(self) -> list[Prompt]:
        """Prompts that nobody knows yet, no two of one scene."""
        known = {plain_text(text) for text in self.apart_from}
        wanted = _VALIDATION.stop + _SENSITIVITY
        lexicon = lexicon_of(self.adm.id)
        drawn = draw_suite(Suite.EXPLORATION, _ROOM * (wanted + len(known)), _SEED, lexicon)
        scenes: dict[str, Prompt] = {}
        for prompt in drawn:
            if prompt.scene is not None and plain_text(prompt.text) not in known:
                scenes.setdefault(prompt.scene.content_hash(), prompt)
        return list(scenes.values())


def _of_validation(scenes: Sequence[Prompt]) -> Sequence[Prompt]:
    return scenes[_VALIDATION]


def _of_sensitivity(scenes: Sequence[Prompt]) -> Sequence[Prompt]:
    others = [*scenes[: _VALIDATION.start], *scenes[_VALIDATION.stop :]]
    return _new_sounds_first(others)[:_SENSITIVITY]


def _new_sounds_first(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Prompts with a sound that none before them has, and then the others, both in their order."""
    heard: set[str] = set()
    new, others = list[Prompt](), list[Prompt]()
    for prompt in prompts:
        sounds = set() if prompt.scene is None else set(prompt.scene.sources)
        (others if sounds <= heard else new).append(prompt)
        heard |= sounds
    return new + others
