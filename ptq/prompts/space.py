"""How well a set of prompts covers the prompts that a model will be given.

Covered means near in the model's own text embedding: that is all that its denoiser ever sees of a
prompt. Embeddings are centred first, since those of any text encoder lie in a narrow cone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ptq.errors import ConfigError
from ptq.prompts.aspects import Cell, cells_of, cells_of_all

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]

# Prompts that fill a cell: one may have filled it by chance.
FULL_TIMES = 2
_STRAY_PERCENTILE = 5.0
_FEWEST = 8
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class PromptCoverage:
    """Three measures of one set, all shares but for ``radius``.

    Attributes:
        near: Reference prompts with a prompt of the set as near as a typical neighbour.
        radius: Distance of the worst served reference prompt, 1 − cosine: 0 to 2.
        cells: Pairs of a sound family and an aspect that two or more prompts fill.
    """

    near: float
    radius: float
    cells: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptSpace:
    """The reference prompts of a model, and its own embedding to measure by.

    Attributes:
        reference: What the model will be asked for, different texts.
        embed: The model's text embedding, one row a text; it is centred here.
    """

    reference: tuple[str, ...]
    embed: Embed
    _known: dict[str, Vectors] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if len(set(self.reference)) < _FEWEST:
            raise ConfigError(
                f"Coverage needs at least {_FEWEST} different reference prompts, got "
                f"{len(set(self.reference))}; give more."
            )

    @cached_property
    def _centre(self) -> Vectors:
        centre: Vectors = self._raw(self.reference).mean(axis=0)
        return centre

    def _raw(self, texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self.embed(new), strict=True))
        return np.stack([self._known[text] for text in texts]).astype(np.float32)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Centred embeddings of unit length, ``(texts, width)``."""
        if not texts:
            return np.zeros((0, len(self._centre)), dtype=np.float32)
        rows = self._raw(texts) - self._centre
        unit: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
        return unit

    @cached_property
    def targets(self) -> Vectors:
        """Vectors of the reference, ``(reference, width)``."""
        return self.vectors(self.reference)

    @cached_property
    def _neighbours(self) -> Vectors:
        """Cosine of each reference prompt to its nearest other one."""
        cosines = self.targets @ self.targets.T
        np.fill_diagonal(cosines, -np.inf)
        nearest: Vectors = cosines.max(axis=1)
        return nearest

    @property
    def near_cosine(self) -> float:
        """What counts as near: the median cosine of nearest neighbours in the reference."""
        return float(np.median(self._neighbours))

    @property
    def stray_cosine(self) -> float:
        """Below this cosine to all of the reference a text is none of the model's."""
        return float(np.percentile(self._neighbours, _STRAY_PERCENTILE))

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells that the reference fills."""
        return cells_of_all(self.reference)

    def filled(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which cells each text fills, ``(texts, cells)``."""
        rows = [cells_of(text) for text in texts]
        table = np.array([[cell in row for cell in self.cells] for row in rows], dtype=bool)
        return table.reshape(len(texts), len(self.cells))

    def coverage(self, texts: Sequence[str]) -> PromptCoverage:
        """Measure a set of prompts; an empty one covers nothing."""
        if not texts:
            return PromptCoverage(near=0.0, radius=2.0, cells=0.0)
        closest = (self.targets @ self.vectors(texts).T).max(axis=1)
        full = self.filled(texts).sum(axis=0) >= FULL_TIMES
        return PromptCoverage(
            near=float((closest >= self.near_cosine - 1e-6).mean()),
            radius=float(1.0 - closest.min()),
            cells=float(full.mean()) if len(full) else 1.0,
        )
