"""Prompts as points: where calibration's and a visitor's own lie in the model's text space."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.registry import lexicon_of
from ptq.adms.text import embed_prompts
from ptq.calibration.prompt_choice import PromptChoice
from ptq.prompts.space import PromptSpace

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptPoints:
    """Prompts and where they lie, (prompts, 2)."""

    texts: tuple[str, ...]
    at: Points


class PromptMap:
    """The two directions in which a model's usual prompts differ most.

    Args:
        load: Gives the model whose text encoder places prompts; it is held no longer than needed.
    """

    def __init__(self, load: Callable[[], AudioDiffusionModel]) -> None:
        adm = load()
        self._space = PromptSpace(
            reference=PromptChoice(adm, 0, lexicon_of(adm.id)).space.reference,
            embed=lambda texts: embed_prompts(load(), texts),
        )

    @cached_property
    def _basis(self) -> Points:
        rows = self._space.targets.astype(np.float64)
        basis: Points = np.linalg.svd(rows, full_matrices=False)[2][:2].T
        return basis

    @cached_property
    def usual(self) -> PromptPoints:
        """What the model is usually asked for."""
        return self.of(self._space.reference)

    def of(self, texts: Sequence[str]) -> PromptPoints:
        """Place some prompts."""
        vectors = self._space.vectors(tuple(texts)).astype(np.float64)
        return PromptPoints(texts=tuple(texts), at=vectors @ self._basis)
