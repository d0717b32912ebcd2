"""A multiple-choice knapsack: one item of every row, the least sum of values within a budget.

HiGHS solves it as an integer program. Before that, a price for each unit of cost (a Lagrange
multiplier) bounds the sum from below and gives a choice that bounds it from above; an item with
which the sum would pass the upper bound is left out (Sinha and Zoltners 1979, Operations Research
27(3)). That loses nothing of the best choice, and leaves little to search.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from ptq.errors import ConfigError

_EXACT = 1e-9
_HALVINGS = 60
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Item:
    """What can be taken from a row.

    Attributes:
        place: Where it stands in its row.
        value: What is to be small.
        cost: What the budget limits.
    """

    place: int
    value: float
    cost: int


Rows = Sequence[Sequence[Item]]


def cheapest(rows: Rows, budget: int, slack: int) -> list[Item]:
    """Return one item of every row, with the least sum of values.

    Args:
        rows: What there is to choose from.
        budget: What all costs together may come to; the least of every row have to fit.
        slack: By how much the solver's budget shrinks where it overran.

    Raises:
        ConfigError: If the solver finds none.
    """
    frugal = [min(row, key=lambda item: (item.cost, item.value)) for row in rows]
    room, least = budget, _cost(frugal)
    chosen = _solve(promising(rows, room), room)
    # The solver keeps within a budget but for its tolerance, which is small, not none.
    while _cost(chosen) > budget:
        room -= slack
        chosen = frugal if room < least else _solve(promising(rows, room), room)
    return _filled(chosen, rows, budget)


def promising(rows: Rows, budget: int) -> list[list[Item]]:
    """Return what a best choice within the budget may hold of each row."""
    kept = [_undominated(row) for row in rows]
    values = _padded([[item.value for item in row] for row in kept], np.inf)
    costs = _padded([[float(item.cost) for item in row] for row in kept], 0.0)
    price = _price(values, costs, budget)
    priced = values + price * costs
    least = priced.min(axis=1, keepdims=True)
    fitting = [row[place] for row, place in zip(kept, priced.argmin(axis=1), strict=True)]
    if _cost(fitting) > budget:  # nothing fits, and the solver will say so
        return kept
    upper = sum(item.value for item in _filled(fitting, kept, budget))
    lower = float(least.sum()) - price * budget
    near = priced - least <= upper - lower + _ROUNDING * upper
    return [
        [item for item, may_be in zip(row, marks, strict=False) if may_be]
        for row, marks in zip(kept, near, strict=True)
    ]


def _price(values: NDArray[np.float64], costs: NDArray[np.float64], budget: int) -> float:
    """The lowest price of a unit at which what is best row by row fits."""
    # Costs are whole: at such a price nothing is worth a unit more.
    low, high = 0.0, float(np.ptp(values[np.isfinite(values)])) + 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        places = (values + middle * costs).argmin(axis=1, keepdims=True)
        fits = float(np.take_along_axis(costs, places, axis=1).sum()) <= budget
        low, high = (low, middle) if fits else (middle, high)
    return high


def _padded(rows: Sequence[Sequence[float]], fill: float) -> NDArray[np.float64]:
    found = np.full((len(rows), max(map(len, rows))), fill)
    for own, row in zip(found, rows, strict=True):
        own[: len(row)] = row
    return found


def _undominated(row: Sequence[Item]) -> list[Item]:
    """Those for which no other one costs as little at as small a value, by their costs."""
    found = list[Item]()
    for item in sorted(row, key=lambda item: (item.cost, item.value)):
        if not found or item.value < found[-1].value:
            found.append(item)
    return found


def _solve(rows: Rows, budget: int) -> list[Item]:
    flat = [item for row in rows for item in row]
    values = np.array([item.value for item in flat])
    costs = np.array([item.cost for item in flat], dtype=np.float64)
    of = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    one_each = csr_array((np.ones(len(flat)), (of, np.arange(len(flat)))))
    # Values span orders of magnitude: in units of their mean the solver's tolerances fit.
    unit = float(values.mean()) or 1.0
    scale = float(max(budget, 1))
    result = milp(
        values / unit,
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(costs[None] / scale, -np.inf, budget / scale),
        ],
        integrality=np.ones(len(flat)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": _EXACT},
    )
    if result.x is None:
        raise ConfigError(
            f"no plan was found within the budget ({result.message}); ask for a larger one."
        )
    return [item for item, taken in zip(flat, result.x, strict=True) if taken > 0.5]


def _filled(chosen: Sequence[Item], rows: Rows, budget: int) -> list[Item]:
    """Spend what is left on rows whose values are too small for the solver's tolerance."""
    found, room = list(chosen), budget - _cost(chosen)
    for index, (own, row) in enumerate(zip(chosen, rows, strict=True)):
        within = (item for item in row if item.cost - own.cost <= room)
        found[index] = min(within, key=lambda item: (item.value, item.cost))
        room -= found[index].cost - own.cost
    return found


def _cost(chosen: Sequence[Item]) -> int:
    return sum(item.cost for item in chosen)
