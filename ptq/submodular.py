"""Choosing a small set that stands for a large one: monotone submodular goals, greedily reached.

What one more element adds can only shrink as the set grows. The greedy set therefore reaches at
least 1 − 1/e of what any set of its size can (Nemhauser, Wolsey and Fisher 1978), and an old gain
is an upper bound of the new one, so that few gains have to be computed again (Minoux 1978).
"""

import heapq
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Goal(Protocol):
    """A monotone submodular function of a growing set; 0 for the empty one."""

    def gain(self, item: int) -> float:
        """What an element would add."""

    def add_(self, item: int) -> None:
        """Put an element into the set."""


class FacilityLocation:
    """Mean over a reference set of the similarity to the closest element.

    Args:
        similarity: ``(reference, items)``, none below zero.
    """

    def __init__(self, similarity: NDArray[np.float32]) -> None:
        self._similarity = similarity
        self._closest = np.zeros(len(similarity), dtype=np.float32)

    def gain(self, item: int) -> float:
        """What an element would add."""
        closer = self._similarity[:, item] - self._closest
        return float(np.maximum(closer, 0.0).mean())

    def add_(self, item: int) -> None:
        """Put an element into the set."""
        self._closest = np.maximum(self._closest, self._similarity[:, item])


class Cover:
    """Share, by weight, of the things that enough elements cover.

    Args:
        covers: Whether an element covers a thing, ``(items, things)``.
        weights: Of the things, ``(things,)``; all equal if ``None``.
        times: How many elements it takes to cover a thing wholly.
    """

    def __init__(
        self,
        covers: NDArray[np.bool_],
        weights: NDArray[np.float64] | None = None,
        times: int = 1,
    ) -> None:
        self._covers, self._times = covers, times
        wanted = np.ones(covers.shape[1]) if weights is None else weights
        # What no element covers is nobody's fault.
        wanted = wanted * covers.any(axis=0)
        total = float(wanted.sum())
        self._weights = wanted / total if total > 0 else wanted
        self._missing = np.full(covers.shape[1], times)

    def gain(self, item: int) -> float:
        """What an element would add."""
        helped = self._covers[item] & (self._missing > 0)
        return float(self._weights[helped].sum()) / self._times

    def add_(self, item: int) -> None:
        """Put an element into the set."""
        self._missing = np.maximum(self._missing - self._covers[item], 0)


class Quotas:
    """Mean over classes of how far each one's quota is filled.

    Args:
        classes: Class of each element, ``(items,)`` from 0.
        quotas: Elements wanted of each class, ``(classes,)``, above zero.
    """

    def __init__(self, classes: NDArray[np.int64], quotas: NDArray[np.float64]) -> None:
        self._classes, self._quotas = classes, quotas
        self._filled = np.zeros(len(quotas))

    def gain(self, item: int) -> float:
        """What an element would add."""
        index = self._classes[item]
        open_ = max(self._quotas[index] - self._filled[index], 0.0)
        return float(min(1.0, open_) / self._quotas[index] / len(self._quotas))

    def add_(self, item: int) -> None:
        """Put an element into the set."""
        self._filled[self._classes[item]] += 1.0


class WeightedSum:
    """Several goals at once.

    Args:
        goals: What counts.
        weights: How much each counts.
    """

    def __init__(self, goals: Sequence[Goal], weights: Sequence[float]) -> None:
        self._terms = tuple(zip(goals, weights, strict=True))

    def gain(self, item: int) -> float:
        """What an element would add."""
        return sum(weight * goal.gain(item) for goal, weight in self._terms)

    def add_(self, item: int) -> None:
        """Put an element into the set."""
        for goal, _ in self._terms:
            goal.add_(item)


def lazy_greedy(
    goal: Goal, items: int, count: int, kept: Sequence[int] = ()
) -> tuple[list[int], list[float]]:
    """Choose elements one after the other, always the one that adds most.

    Args:
        goal: Over elements ``0 … items - 1``; holds the chosen set afterwards.
        items: How many there are.
        count: How many to choose; all of them if there are fewer.
        kept: Those that are chosen before any other, whatever they add.

    Returns:
        The elements in the order of their choice, and what each added.
    """
    chosen: list[int] = []
    gains: list[float] = []
    for item in kept[:count]:
        gains.append(goal.gain(item))
        goal.add_(item)
        chosen.append(item)
    heap = [(-goal.gain(item), item) for item in range(items) if item not in chosen]
    heapq.heapify(heap)
    while heap and len(chosen) < count:
        _, item = heapq.heappop(heap)
        gain = goal.gain(item)
        if heap and gain < -heap[0][0]:
            heapq.heappush(heap, (-gain, item))
            continue
        goal.add_(item)
        chosen.append(item)
        gains.append(gain)
    return chosen, gains
