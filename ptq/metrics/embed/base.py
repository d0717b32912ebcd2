"""What an embedder is: clips in, one vector a clip out, always the same."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptq.errors import MetricError

SAMPLE_RATE_HZ = 16_000
# Shorter clips have too few frames for the networks' strides.
MIN_SAMPLES = 8_000


class Embedder(Protocol):
    """Maps clips to vectors whose distribution the Fréchet distance compares."""

    @property
    def id(self) -> str:
        """Name, part of every score's name, e.g. `mini128`."""
        ...

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        ...

    @property
    def sample_rate_hz(self) -> int:
        """Rate that `embed` expects."""
        ...

    @property
    def sha256(self) -> str:
        """Hash of the weights, or of the settings where nothing is trained."""
        ...

    def embed(self, clips: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """One vector a clip, `(n, dim)` float32, whatever else is in the list.

        Args:
            clips: Mono clips `(samples,)` at `sample_rate_hz`; lengths may differ.

        Raises:
            MetricError: A clip is not mono, too short, or not finite.
        """
        ...


def batches_by_length(
    clips: Sequence[NDArray[np.float32]], size: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Group clips of one length into batches of exactly `size`, filled up with silence.

    The kernels chosen for a convolution depend on the shape of the batch, and so do the last bits
    of the result: with one shape, a clip's embedding is the same whatever else is in the list.

    Yields:
        The clips' places in the list, and samples `(size, samples)` that begin with them.

    Raises:
        MetricError: A clip is not mono, too short, or not finite.
    """
    by_length: dict[int, list[int]] = {}
    for index, clip in enumerate(clips):
        _check(clip, index)
        by_length.setdefault(len(clip), []).append(index)
    for indices in by_length.values():
        for start in range(0, len(indices), size):
            part = indices[start : start + size]
            rows = np.zeros((size, len(clips[part[0]])), dtype=np.float32)
            rows[: len(part)] = [clips[i] for i in part]
            yield part, torch.from_numpy(rows)


def _check(clip: NDArray[np.float32], index: int) -> None:
    if clip.ndim != 1:
        raise MetricError(f"clip {index} has shape {clip.shape}; give mono samples (n_samples,).")
    if len(clip) < MIN_SAMPLES:
        raise MetricError(
            f"clip {index} has {len(clip)} samples; give at least {MIN_SAMPLES} (half a second)."
        )
    if not np.isfinite(clip).all():
        raise MetricError(f"clip {index} holds NaN or infinity; leave it out of both sides.")
