"""Which prompts are sampled for calibration, and which of their states are kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ptq.calibration.states import StatePool
from ptq.errors import ConfigError
from ptq.prompts.suites import Suite, draw_suite


class CalibrationStrategy(Protocol):
    """Chooses a calibration set; every strategy draws from the calibration suite alone."""

    @property
    def id(self) -> str:
        """Name in configurations and reports."""

    def prompts(self, count: int, seed: int) -> tuple[str, ...]:
        """Choose the prompts whose trajectories are recorded."""

    def states(self, pool: StatePool, count: int, seed: int) -> NDArray[np.int64]:
        """Choose states as ``(count, 2)`` pairs of prompt and step."""


@dataclass(frozen=True, kw_only=True)
class UniformStrategy:
    """Grammar prompts, and states spread evenly over timesteps (Q-Diffusion, Li et al. 2023)."""

    id: str = "uniform"

    def prompts(self, count: int, seed: int) -> tuple[str, ...]:
        """Draw from the grammar's own distribution."""
        return tuple(prompt.text for prompt in draw_suite(Suite.CALIBRATION, count, seed))

    def states(self, pool: StatePool, count: int, seed: int) -> NDArray[np.int64]:
        """Give every timestep the same number of states, and spread each over the prompts."""
        n_prompts, n_steps = len(pool.prompts), pool.n_steps
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


STRATEGIES: Mapping[str, CalibrationStrategy] = MappingProxyType({"uniform": UniformStrategy()})


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
