"""Random halves of a set of clips, which keep the clips of one prompt together."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ptq.errors import MetricError

Labels: TypeAlias = Sequence[int] | Sequence[str] | NDArray[Any]

MIN_SPLITS = 4


def cluster_codes(n: int, clusters: Labels | None) -> NDArray[np.intp]:
    """Prompt labels as integers from 0, `(n,)`; without labels every clip is its own prompt.

    Raises:
        MetricError: The number of labels is not the number of clips.
    """
    if clusters is None:
        return np.arange(n)
    labels = np.asarray(clusters)
    if labels.shape != (n,):
        raise MetricError(f"{labels.size} prompt labels for {n} clips; give one per clip.")
    return np.unique(labels, return_inverse=True)[1]


def half_splits(
    n: int, *, clusters: Labels | None = None, splits: int = 8, seed: int = 0
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Random halves without replacement, the same for every bank of one layout and seed.

    Clips of one prompt stay together: only then does halving the sample double the bias.

    Args:
        n: Number of clips.
        clusters: Prompt of every clip, `(n,)`; None makes each clip its own.
        splits: How many pairs of halves.
        seed: Seed of the permutations.

    Raises:
        MetricError: Fewer than 4 splits, or a half would hold fewer than 2 clips.
    """
    if splits < MIN_SPLITS:
        raise MetricError(f"{splits} splits are too noisy an average; use at least {MIN_SPLITS}.")
    codes = cluster_codes(n, clusters)
    groups = int(codes.max()) + 1
    rng = np.random.default_rng(seed)
    halves = []
    for _ in range(splits):
        first = np.isin(codes, rng.permutation(groups)[: groups // 2])
        halves.append((np.flatnonzero(first), np.flatnonzero(~first)))
    if min(min(a.size, b.size) for a, b in halves) < 2:
        raise MetricError(f"{n} clips of {groups} prompts cannot be halved; use at least 4.")
    return halves
