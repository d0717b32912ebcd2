"""Greedy choice: as good as trying every element each time, and never with growing gains."""

import itertools

import numpy as np
import pytest

from ptq.submodular import Cover, FacilityLocation, Goal, Quotas, WeightedSum, lazy_greedy

RNG = np.random.default_rng(0)
POINTS = RNG.standard_normal((40, 6))
COVERS = RNG.random((40, 25)) < 0.15
CLASSES = RNG.integers(0, 4, 40)


def goal() -> Goal:
    unit = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
    similarity = np.maximum(unit @ unit.T, 0.0).astype(np.float32)
    return WeightedSum(
        [
            FacilityLocation(similarity),
            Cover(COVERS, np.linspace(1.0, 2.0, 25), times=2),
            Quotas(CLASSES, np.array([1.0, 2.5, 3.0, 2.0])),
        ],
        [1.0, 0.5, 0.7],
    )


def value_of(items: tuple[int, ...]) -> float:
    found, total = goal(), 0.0
    for item in items:
        total += found.gain(item)
        found.add_(item)
    return total


def test_lazy_equals_eager() -> None:
    chosen, gains = lazy_greedy(goal(), 40, 12)
    eager, left = goal(), set(range(40))
    for item, gain in zip(chosen, gains, strict=True):
        best = max(eager.gain(other) for other in left)
        assert gain == pytest.approx(best)
        assert eager.gain(item) == pytest.approx(best)
        eager.add_(item)
        left.remove(item)


def test_gains_never_grow() -> None:
    _, gains = lazy_greedy(goal(), 40, 40)
    assert len(gains) == 40
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(gains))


def test_three_are_nearly_as_good_as_the_best_three() -> None:
    chosen, gains = lazy_greedy(goal(), 12, 3)
    best = max(value_of(items) for items in itertools.combinations(range(12), 3))
    assert value_of(tuple(chosen)) == pytest.approx(sum(gains))
    assert sum(gains) >= (1 - 1 / np.e) * best


def test_the_whole_set_reaches_every_goal() -> None:
    covered = Cover(COVERS)
    assert sum(lazy_greedy(covered, 40, 40)[1]) == pytest.approx(1.0)
    filled = Quotas(CLASSES, np.array([1.0, 2.5, 3.0, 2.0]))
    assert sum(lazy_greedy(filled, 40, 40)[1]) == pytest.approx(1.0)


def test_what_nothing_covers_is_left_out_and_nothing_at_all_is_no_error() -> None:
    never = np.zeros((3, 2), dtype=bool)
    assert sum(lazy_greedy(Cover(never), 3, 3)[1]) == 0.0
    half = np.array([[True, False], [True, False]])
    assert lazy_greedy(Cover(half), 2, 1)[1] == [1.0]
    assert lazy_greedy(Cover(never), 0, 5) == ([], [])
