"""Runs recorded states through the model again, and tells what a choice of them reaches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.sampling import ShouldStop
from ptq.calibration.coverage import (
    coverage_figures,
    random_range_coverage,
    range_coverage,
    rows_of,
)
from ptq.calibration.replay import Replay
from ptq.calibration.signatures import Signatures, measure_signatures
from ptq.calibration.states import Progress, StatePool, StateSet, all_states
from ptq.calibration.strategies import MOST_COMPARED
from ptq.errors import CalibrationError


@dataclass(kw_only=True)
class Replays:
    """Replays of one calibration, in turn, each told as so many steps of the sampler.

    Attributes:
        adm: The model.
        steps: Of the deployed sampler.
        progress: Told how much of all is done.
        should_stop: Asked before every denoising step.
        before: How much was done before the first.
        count: How many there will be.
    """

    adm: AudioDiffusionModel
    steps: int
    progress: Progress
    should_stop: ShouldStop
    before: int
    count: int

    @property
    def total(self) -> int:
        """All that there is to do."""
        return self.before + self.count * self.steps

    def next(self, states: StateSet) -> Replay:
        """The next one, of some states."""
        total, before = self.total, self.before
        self.before, self.count = before + self.steps, self.count - 1
        return Replay(
            adm=self.adm,
            states=states,
            progress=lambda done, all_: self.progress(before + done * self.steps // all_, total),
            should_stop=self.should_stop,
        )


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What chosen states reach of all that were recorded; see ``ptq.calibration.coverage``.

    Attributes:
        figures: Over all layers, and what random sets of the same size reach.
        sites: How much of its peak each layer reaches.
        random_sites: How much of it random sets of the same size reach.
    """

    figures: Mapping[str, float]
    sites: Mapping[str, float]
    random_sites: Mapping[str, float]


NOT_MEASURED = Reach(figures={}, sites={}, random_sites={})


@dataclass(kw_only=True)
class Probe:
    """Measures once what states do to the layers: for the strategy that asks, or to judge a choice.

    Attributes:
        pool: Recorded trajectories.
        next_replay: Gives the replay that measures.
        measured: The states, as pairs of prompt and step, and what they do.
    """

    pool: StatePool
    next_replay: Callable[[StateSet], Replay]
    measured: tuple[NDArray[np.int64], Signatures] | None = None

    def __call__(self, candidates: NDArray[np.int64]) -> Signatures:
        """What each of the states does.

        Args:
            candidates: Pairs of prompt and step.

        Raises:
            CalibrationError: If a layer is given what is not finite, or none can be watched.
        """
        found = measure_signatures(self.next_replay(StateSet.of(self.pool, candidates)))
        self.measured = (candidates, found)
        return found

    def reach(self, chosen: NDArray[np.int64], seed: int) -> Reach:
        """What a chosen set reaches; nothing where no layer can be described by what it is given.

        Args:
            chosen: Pairs of prompt and step.
            seed: Of the random sets, and of the states compared with where there are too many.
        """
        measured = self.measured or self._measured_with(chosen, seed)
        if measured is None:
            return NOT_MEASURED
        candidates, signatures = measured
        rows = rows_of(candidates, chosen)
        return Reach(
            figures=coverage_figures(signatures, rows, seed),
            sites=_rounded(range_coverage(signatures, rows)),
            random_sites=_rounded(random_range_coverage(signatures, len(chosen), seed)),
        )

    def _measured_with(
        self, chosen: NDArray[np.int64], seed: int
    ) -> tuple[NDArray[np.int64], Signatures] | None:
        try:
            self(_with_others(self.pool, chosen, seed))
        except CalibrationError:  # the strategy did without, and so can the ranges
            return None
        return self.measured


def _with_others(pool: StatePool, chosen: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """All states, the chosen ones first; a random part of the others where there are too many."""
    others = np.random.default_rng(seed).permutation(all_states(pool))
    both = np.concatenate([chosen, others])
    _, first = np.unique(both, axis=0, return_index=True)
    return both[np.sort(first)[: max(MOST_COMPARED, len(chosen))]]


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}
