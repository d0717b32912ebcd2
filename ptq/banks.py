"""The clips of a study, and the embeddings in which they are compared."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ptq.audio import AudioClip
from ptq.errors import MetricError
from ptq.metrics import NewDefects, ReferenceBank, clip_flags, new_defects

Array = NDArray[np.float32]


class Ear(Protocol):
    """An embedder with a reference bank, a classifier and a text tower."""

    @property
    def id(self) -> str:
        """Name that every distance carries."""

    @property
    def sha256(self) -> str:
        """Hash of its weights."""

    @property
    def dim(self) -> int:
        """Width of an embedding."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the clips that it hears."""

    def embed(self, clips: Sequence[Array]) -> Array:
        """Embeddings ``(n, dim)``."""

    def class_logits(self, embeddings: Array) -> Array:
        """Source logits ``(n, sources)`` of embeddings."""

    def text_score(self, clips: Sequence[Array], texts: Sequence[str]) -> Array:
        """Cosine of every clip with its text, ``(n,)``."""

    @property
    def bank(self) -> ReferenceBank:
        """Statistics of the reference distribution."""

    @property
    def families(self) -> Mapping[str, ReferenceBank]:
        """The part of the reference that holds a sound of each family."""


def ear_id(ear: Ear | str) -> str:
    """What scores hang on besides the clips: the embedder, its weights and the reference."""
    if isinstance(ear, str):
        return "none"
    reference = hashlib.sha256(ear.bank.mean.tobytes() + ear.bank.factor.tobytes())
    return f"{ear.id} {ear.sha256[:16]} {reference.hexdigest()[:16]}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Banks:
    """The clips of a study: row ``i`` of each bank has prompt ``i``.

    ``second`` is full precision with another seed: how different two equally good clips are.
    """

    prompts: tuple[str, ...]
    full: tuple[AudioClip, ...]
    second: tuple[AudioClip, ...]
    quantized: tuple[AudioClip, ...]

    def finite_rows(self) -> tuple[int, ...]:
        """Rows in which all three clips are finite: only those have a place among distances."""
        rows = zip(self.full, self.second, self.quantized, strict=True)
        return tuple(
            i for i, row in enumerate(rows) if all(np.isfinite(c.samples).all() for c in row)
        )

    def at(self, rows: Sequence[int]) -> "Banks":
        """The banks with these rows only."""
        return Banks(
            prompts=tuple(self.prompts[i] for i in rows),
            full=tuple(self.full[i] for i in rows),
            second=tuple(self.second[i] for i in rows),
            quantized=tuple(self.quantized[i] for i in rows),
        )

    def new_defects(self) -> NewDefects:
        """How many clips quantization made silent, clipped or not finite."""
        return new_defects(
            [clip_flags(clip.samples) for clip in self.full],
            [clip_flags(clip.samples) for clip in self.quantized],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Embeddings:
    """Embeddings of the three banks, ``(n, dim)`` each, and text scores of two, ``(n,)`` each."""

    full: Array
    second: Array
    quantized: Array
    text_full: Array
    text_quantized: Array


def embed_banks(ear: Ear, banks: Banks) -> Embeddings:
    """Embed every clip of the three banks, and hold both banks of pairs against their prompts.

    Raises:
        MetricError: The clips have another rate than the embedder hears, or one is not finite.
    """
    if not banks.prompts:
        raise MetricError("there is no pair of finite clips.")
    full, second, quantized = (
        samples_of(bank, ear.sample_rate_hz) for bank in (banks.full, banks.second, banks.quantized)
    )
    return Embeddings(
        full=ear.embed(full),
        second=ear.embed(second),
        quantized=ear.embed(quantized),
        text_full=ear.text_score(full, banks.prompts),
        text_quantized=ear.text_score(quantized, banks.prompts),
    )


def samples_of(clips: Sequence[AudioClip], sample_rate_hz: int) -> list[Array]:
    """Samples of every clip.

    Raises:
        MetricError: A clip has another rate.
    """
    rates = {clip.sample_rate_hz for clip in clips} - {sample_rate_hz}
    if rates:
        raise MetricError(
            f"the clips have {max(rates)} samples a second, and the embedder hears "
            f"{sample_rate_hz}; use an embedder of that rate."
        )
    return [clip.samples for clip in clips]
