"""Distances of a few clips of one family: a share of its FD, or of what noise alone would give."""

import numpy as np
import pytest

from ptq.errors import MetricError
from ptq.metrics.base import Array
from ptq.metrics.frechet import ReferenceBank
from ptq.metrics.inference import MIN_FLOOR_RATIO
from ptq.metrics.projected import projected_increase, resolvable_pct

DIM, N = 24, 80


def drawn(n: int, seed: int, shift: float = 0.0) -> Array:
    rows: Array = np.random.default_rng(seed).normal(size=(n, DIM)) * np.linspace(3.0, 0.2, DIM)
    rows[:, 0] += shift
    return rows


@pytest.fixture(scope="module")
def bank() -> ReferenceBank:
    return ReferenceBank.from_embeddings(drawn(4000, 0))


def test_a_family_far_from_the_reference_rises_in_percent_of_its_distance(
    bank: ReferenceBank,
) -> None:
    full = drawn(N, 1, shift=20.0)
    worse = full + np.eye(DIM)[0] * 2.0
    found = projected_increase(bank, full, worse)
    assert found.increase_pct is not None
    assert resolvable_pct(found) == pytest.approx(found.increase_pct)


def test_a_family_within_the_noise_rises_in_percent_of_three_times_the_floor(
    bank: ReferenceBank,
) -> None:
    full = drawn(N, 1)
    worse = full + np.eye(DIM)[0] * 2.0
    found = projected_increase(bank, full, worse)
    assert found.increase_pct is None
    assert found.noise_floor is not None
    rise = found.quantized - found.full_precision
    expected = 100.0 * rise / (MIN_FLOOR_RATIO * found.noise_floor)
    assert resolvable_pct(found) == pytest.approx(expected)
    assert resolvable_pct(projected_increase(bank, full, full)) == 0.0


def test_damage_shows_however_small_the_distance_was(bank: ReferenceBank) -> None:
    full = drawn(N, 1)
    moved = [full + np.eye(DIM)[0] * by for by in (0.5, 2.0, 8.0)]
    rises = [resolvable_pct(projected_increase(bank, full, other)) for other in moved]
    assert rises == sorted(rises)
    assert rises[-1] > 15.0


def test_too_few_clips_are_refused(bank: ReferenceBank) -> None:
    with pytest.raises(MetricError, match="at least 16 of the family"):
        projected_increase(bank, drawn(15, 1), drawn(15, 2))
