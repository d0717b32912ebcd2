"""Which states of the recorded trajectories are kept for calibration."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ptq.calibration.aware import aware_states
from ptq.calibration.density import density_quotas
from ptq.calibration.signatures import Measure
from ptq.calibration.states import StatePool, all_states
from ptq.errors import ConfigError

# How close all states are to all takes memory that grows with the square.
MOST_COMPARED = 8192
# PTQ4DM's released settings: mean and deviation of the time, as shares of the whole.
_NORMAL_MEAN = _NORMAL_DEVIATION = 0.4


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """The states that a strategy chooses from.

    Attributes:
        pool: Recorded trajectories.
        measure: Tells what states do to the layers; it runs the model, so ask it once.
    """

    pool: StatePool
    measure: Measure

    def all(self) -> NDArray[np.int64]:
        """Every state as a pair of prompt and step, prompt by prompt."""
        return all_states(self.pool)


class CalibrationStrategy(Protocol):
    """Chooses the states of a calibration set."""

    @property
    def id(self) -> str:
        """Name in configurations and reports."""

    def states(self, candidates: Candidates, count: int, seed: int) -> NDArray[np.int64]:
        """Choose states as ``(count, 2)`` pairs of prompt and step.

        Args:
            candidates: Every state there is.
            count: How many to choose; all of them if there are fewer.
            seed: Of every random choice.
        """


@dataclass(frozen=True, kw_only=True)
class UniformStrategy:
    """States spread evenly over timesteps (Q-Diffusion, Li et al. 2023, arXiv 2302.04304)."""

    id: str = "uniform"

    def states(self, candidates: Candidates, count: int, seed: int) -> NDArray[np.int64]:
        """Give every timestep the same number of states, and spread each over the prompts."""
        n_prompts, n_steps = len(candidates.pool.prompts), candidates.pool.n_steps
        count = min(count, n_prompts * n_steps)
        rng = np.random.default_rng(seed)
        orders = np.stack([rng.permutation(n_prompts) for _ in range(n_steps)], axis=1)
        # Row r of `orders` holds one prompt for every step: reading row by row keeps the number
        # of states per step equal to within one; a stride spreads an incomplete last row.
        full, rest = divmod(count, n_steps)
        steps = np.concatenate(
            [
                np.tile(np.arange(n_steps), full),
                np.linspace(0, n_steps - 1, rest).round(),
            ]
        ).astype(np.int64)
        rows = np.concatenate([np.repeat(np.arange(full), n_steps), np.full(rest, full)])
        return np.stack([orders[rows.astype(np.int64), steps], steps], axis=1)


@dataclass(frozen=True, kw_only=True)
class RandomStrategy:
    """Any states of any prompts: what every other strategy has to beat."""

    id: str = "random"

    def states(self, candidates: Candidates, count: int, seed: int) -> NDArray[np.int64]:
        """Draw from all states alike, none twice."""
        everything = candidates.all()
        rng = np.random.default_rng(seed)
        return rng.permutation(everything)[:count]


@dataclass(frozen=True, kw_only=True)
class NormalStrategy:
    """Times from a normal distribution (PTQ4DM, Shang et al. 2023, arXiv 2211.15736)."""

    id: str = "normal-in-time"

    def states(self, candidates: Candidates, count: int, seed: int) -> NDArray[np.int64]:
        """Draw times around two fifths of the noise, and a prompt that has none of each yet.

        Times beyond either end are clamped to it, as in the released code: both ends get more.
        """
        rng = np.random.default_rng(seed)
        # Step 0 is the noisiest one: a share of 1 of the time.
        edges = np.linspace(1.0, 0.0, candidates.pool.n_steps + 1)
        edges[0], edges[-1] = np.inf, -np.inf
        below = norm.cdf(edges, loc=_NORMAL_MEAN, scale=_NORMAL_DEVIATION)
        weights: NDArray[np.float64] = -np.diff(below)
        return _states_by_step(candidates.pool, weights, count, rng)


@dataclass(frozen=True, kw_only=True)
class DensityStrategy:
    """Dense and diverse timesteps (EDA-DM, Liu et al. 2024, arXiv 2401.04585)."""

    id: str = "density-diversity"

    def states(self, candidates: Candidates, count: int, seed: int) -> NDArray[np.int64]:
        """Give timesteps states by how many others are like them, and how much they differ."""
        pool = candidates.pool
        middle = candidates.measure(candidates.all()).middle
        by_step = middle.reshape(len(pool.prompts), pool.n_steps, -1).mean(axis=0)
        rng = np.random.default_rng(seed)
        return _states_by_step(pool, density_quotas(by_step), count, rng)


@dataclass(frozen=True, kw_only=True)
class AwareStrategy:
    """States that together reach each layer's range: activation-aware calibration.

    PTQ4ADM (Vora et al. 2024, arXiv 2409.13894) asks for such a set; its algorithm could not be
    had, and this one is ours: see ``ptq.calibration.aware``.

    Attributes:
        most: How many states, drawn at random, are chosen from where there are more.
    """

    id: str = "activation-aware"
    most: int = MOST_COMPARED

    def states(self, candidates: Candidates, count: int, seed: int) -> NDArray[np.int64]:
        """Choose greedily by what the states do to the layers; the seed decides between equals."""
        rng = np.random.default_rng(seed)
        drawn = rng.permutation(candidates.all())[: max(self.most, count)]
        return drawn[aware_states(candidates.measure(drawn), drawn[:, 1], count)]


def _states_by_step(
    pool: StatePool, weights: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a step by its weight, then a prompt of which that state is not chosen yet."""
    n_prompts = len(pool.prompts)
    waiting = [list(rng.permutation(n_prompts)) for _ in weights]
    chosen: list[tuple[int, int]] = []
    for _ in range(min(count, n_prompts * len(weights))):
        open_ = np.array([bool(rows) for rows in waiting], dtype=np.float64)
        shares = open_ * weights if (open_ * weights).any() else open_
        step = int(rng.choice(len(weights), p=shares / shares.sum()))
        chosen.append((int(waiting[step].pop()), step))
    return np.array(chosen, dtype=np.int64).reshape(-1, 2)


STRATEGIES: Mapping[str, CalibrationStrategy] = MappingProxyType(
    {
        strategy.id: strategy
        for strategy in (
            UniformStrategy(),
            AwareStrategy(),
            DensityStrategy(),
            NormalStrategy(),
            RandomStrategy(),
        )
    }
)


def strategy(name: str) -> CalibrationStrategy:
    """The strategy of a name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in STRATEGIES:
        raise ConfigError(
            f"There is no calibration strategy {name!r}; choose one of {', '.join(STRATEGIES)}."
        )
    return STRATEGIES[name]
