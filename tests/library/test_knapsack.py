"""One item of every row: what trying everything finds, also of what was left out beforehand."""

import itertools
import random

import numpy as np
import pytest

from ptq.errors import ConfigError
from ptq.knapsack import Item, cheapest, promising

N_ROWS, N_ITEMS = 6, 4


def _rows(seed: int) -> list[list[Item]]:
    """Values over six orders of magnitude, as errors of layers have them, and equal ones."""
    rng = np.random.default_rng(seed)
    values = 10.0 ** rng.uniform(-6, 0, (N_ROWS, N_ITEMS))
    values[0, 1] = values[0, 2]
    costs = rng.integers(1, 1_000, (N_ROWS, N_ITEMS))
    costs[1, 1] = costs[1, 2]
    places = range(N_ITEMS)
    return [
        [Item(place=i, value=float(values[row, i]), cost=int(costs[row, i])) for i in places]
        for row in range(N_ROWS)
    ]


def _budgets(rows: list[list[Item]], count: int) -> list[int]:
    least, most = (sum(pick(item.cost for item in row) for row in rows) for pick in (min, max))
    return [int(budget) for budget in np.linspace(least, most, count)]


def _best(rows: list[list[Item]], budget: int) -> float:
    return min(
        sum(item.value for item in chosen)
        for chosen in itertools.product(*rows)
        if sum(item.cost for item in chosen) <= budget
    )


@pytest.mark.parametrize("seed", range(4))
def test_no_choice_within_the_budget_is_better(seed: int) -> None:
    rows = _rows(seed)
    for budget in _budgets(rows, 7):
        chosen = cheapest(rows, budget, slack=1)
        assert [item in row for item, row in zip(chosen, rows, strict=True)] == [True] * N_ROWS
        assert sum(item.cost for item in chosen) <= budget
        assert sum(item.value for item in chosen) == pytest.approx(_best(rows, budget), rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_out_is_in_no_best_choice(seed: int) -> None:
    rows = _rows(seed)
    budgets = _budgets(rows, 7)
    left = [promising(rows, budget) for budget in budgets]
    for budget, kept in zip(budgets, left, strict=True):
        assert _best(kept, budget) == pytest.approx(_best(rows, budget), rel=1e-12)
    sizes = [sum(map(len, kept)) for kept in left]
    assert min(sizes) == N_ROWS, "where everything or nothing fits there is no choice"
    assert float(np.mean(sizes)) < N_ROWS * N_ITEMS / 2


def test_a_budget_that_nothing_fits_is_refused() -> None:
    rows = _rows(0)
    with pytest.raises(ConfigError, match="no plan was found within the budget"):
        cheapest(rows, _budgets(rows, 2)[0] - 1, slack=1)


def test_where_the_solver_overruns_the_least_is_still_had() -> None:
    """Sixty layers with costs of all magnitudes, and seven bytes more than the least of them."""
    draw = random.Random(12)
    rows = []
    for _ in range(60):
        weights = draw.choice([64, 256, 4096, 70_000, 300_000])
        rows.append(
            [
                Item(
                    place=place,
                    value=draw.random() * 4.0**-bits * draw.choice([1, 10, 1e-3]),
                    cost=weights * bits // 8 + draw.randint(0, 3),
                )
                for place, bits in enumerate((2, 3, 4, 6, 8, 16))
            ]
        )
    budget = _budgets(rows, 2)[0] + 7
    assert sum(item.cost for item in cheapest(rows, budget, slack=16)) <= budget
