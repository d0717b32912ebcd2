"""Prompts that cover a model's input space, by the model's own text encoder."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.registry import lexicon_of
from ptq.adms.text import embed_prompts
from ptq.errors import ConfigError, ModelError
from ptq.prompts.aspects import cells_of
from ptq.prompts.augment import Augmentation, Augmenter, choose_prompts, without_twins
from ptq.prompts.coverage import source_coverage
from ptq.prompts.grammar import Prompt
from ptq.prompts.lexicon import Lexicon, default_lexicon
from ptq.prompts.space import FULL_TIMES, PromptCoverage, PromptSpace
from ptq.prompts.suites import Suite, draw_suite
from ptq.prompts.variations import Variator
from ptq.study_config import CalibrationSettings

_REFERENCE = 600
# The reference is one for all choices, so that their coverages compare.
_REFERENCE_SEED = 71
_NULL_PROMPT = ""


@dataclass(frozen=True, kw_only=True)
class PromptAudit:
    """What a person's prompts cover, and the set that covers more.

    Attributes:
        given: Coverage of the prompts given.
        twins: Those of them that say the same as an earlier one, or nearly, and are left out.
        lacks: What they leave out: names of sources, and cells that fewer than two fill.
        prompts: The chosen set, best first.
        chosen: Coverage of that set.
        rounds: Closeness, radius and cells of the growing set, before the first round and after
            each.
    """

    given: Mapping[str, float]
    twins: tuple[str, ...]
    lacks: Mapping[str, tuple[str, ...]]
    prompts: tuple[str, ...]
    chosen: Mapping[str, float]
    rounds: tuple[Mapping[str, float], ...]


class PromptChoice:
    """Chooses calibration prompts for one ADM.

    Args:
        adm: Whose text encoder measures.
        seed: Of the candidates that are drawn.
        lexicon: The sounds of the reference prompts are those that it has voiced.

    Raises:
        ConfigError: If the seed is below zero.
    """

    def __init__(self, adm: AudioDiffusionModel, seed: int, lexicon: Lexicon | None = None) -> None:
        if seed < 0:
            raise ConfigError(f"Prompts cannot be chosen from seed {seed}; choose 0 or more.")
        self._seed, self._lexicon = seed, lexicon or default_lexicon()
        self._reference = self._draws(_REFERENCE, _REFERENCE_SEED)
        self.space = PromptSpace(
            reference=tuple(prompt.text for prompt in self._reference),
            embed=lambda texts: embed_prompts(adm, texts),
        )

    def _grown(self, count: int, given: Sequence[str]) -> Augmentation:
        seeds = tuple(given) or self._drawn(count)[:count]
        variator = Variator(lexicon=self._lexicon, rng=np.random.default_rng(self._seed))
        return Augmenter(self.space, self._reference, variator)(seeds, count)

    def _chosen(self, grown: Augmentation, count: int, given: Sequence[str]) -> tuple[str, ...]:
        pool = dict.fromkeys((*grown.prompts, *self._drawn(count)))
        # Grown sets begin with the prompts that were given, but for twins.
        own = len(without_twins(given, self.space)) if given else 0
        return choose_prompts(self.space, tuple(pool), count, kept=own if own < count else 0)

    def _drawn(self, count: int) -> tuple[str, ...]:
        return tuple(p.text for p in self._draws(max(count, _REFERENCE), self._seed))

    def _draws(self, count: int, seed: int) -> tuple[Prompt, ...]:
        return draw_suite(Suite.CALIBRATION, count, seed, self._lexicon)

    def audit(self, given: Sequence[str], count: int) -> PromptAudit:
        """Say what prompts cover and lack; augment them, and choose the ones that cover most.

        Args:
            given: Prompts to begin with, which stay, but for near twins, where there is room for
                them and more; without any, the grammar's own.
            count: How many to choose.

        Raises:
            ConfigError: If the count is below one.
        """
        grown = self._grown(count, given)
        chosen = self._chosen(grown, count, given)
        return PromptAudit(
            given=self.coverage(given),
            twins=self._twins(given),
            lacks=self._lacks(given),
            prompts=chosen,
            chosen=self.coverage(chosen),
            rounds=tuple(_rounded(found) for found in grown.rounds),
        )

    def _twins(self, texts: Sequence[str]) -> tuple[str, ...]:
        if not texts:
            return ()
        kept = set(without_twins(texts, self.space))
        return tuple(text for text in texts if " ".join(text.split()) not in kept)

    def coverage(self, texts: Sequence[str]) -> dict[str, float]:
        """Shares of the space, and of the known sources, that prompts cover.

        Covering prompts are chosen by the same reference, which flatters them beside others.
        """
        named = source_coverage(texts, self._lexicon)
        return {**_rounded(self.space.coverage(texts)), **named.shares}

    def _lacks(self, texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
        named = source_coverage(texts, self._lexicon)
        sources = [f"{s.noun} {s.verb}" for s in self._lexicon.embedded if s.id not in named.named]
        filled = Counter(cell for text in texts for cell in cells_of(text))
        cells = [
            f"{family}, {aspect}"
            for family, aspect in self.space.cells
            if filled[family, aspect] < FULL_TIMES
        ]
        return {"sources": tuple(sources), "cells": tuple(cells)}


def _rounded(found: PromptCoverage) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(found).items()}


@dataclass(frozen=True, kw_only=True)
class CalibrationPrompts:
    """What a model is calibrated on.

    Attributes:
        texts: The prompts.
        coverage: Shares of the space, and of the known sources, that they cover but for the null
            prompt; empty where the model's text cannot be embedded.
        rounds: Closeness, radius and cells of the set that they were chosen from, as it grew; empty
            where they were given or drawn.
    """

    texts: tuple[str, ...]
    coverage: Mapping[str, float]
    rounds: tuple[Mapping[str, float], ...] = ()


def calibration_prompts(
    adm: AudioDiffusionModel, wanted: CalibrationSettings
) -> CalibrationPrompts:
    """The prompts to calibrate on: those given, or covering or drawn ones of the calibration suite.

    All but drawn ones come with the null prompt: guidance asks every model about it.
    """
    lexicon = lexicon_of(adm.id)
    choice = PromptChoice(adm, wanted.seed, lexicon)
    if wanted.covering:
        found = choice.audit((), wanted.prompts)
        texts = (*found.prompts, _NULL_PROMPT)
        return CalibrationPrompts(texts=texts, coverage=found.chosen, rounds=found.rounds)
    if wanted.texts:
        texts, asked = wanted.texts, (*wanted.texts, _NULL_PROMPT)
    else:
        drawn = draw_suite(Suite.CALIBRATION, wanted.prompts, wanted.seed, lexicon)
        texts = asked = tuple(prompt.text for prompt in drawn)
    try:
        coverage = choice.coverage(texts)
    except ModelError:  # these prompts can do without
        coverage = {}
    return CalibrationPrompts(texts=asked, coverage=coverage)
