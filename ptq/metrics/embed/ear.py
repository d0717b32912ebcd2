"""The ear: the shipped embedder together with the reference banks that it measures from."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ptq.errors import CheckpointError, MetricError
from ptq.metrics.embed.mini import EAR_FOLDER, Mini128
from ptq.metrics.frechet import ReferenceBank

BANK_FOLDER = EAR_FOLDER.parent / "bank"
FAMILIES_SUFFIX = "-families"


@dataclass(frozen=True, kw_only=True)
class Ear:
    """Embedder, classifier, caption scorer and reference in one.

    Attributes:
        embedder: The network.
        bank: All reference clips.
        families: The reference clips that hold a sound of each family.
    """

    embedder: Mini128
    bank: ReferenceBank
    families: Mapping[str, ReferenceBank]

    @property
    def id(self) -> str:
        """Name that every distance carries."""
        return self.embedder.id

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the clips that it hears."""
        return self.embedder.sample_rate_hz

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        return self.embedder.dim

    @property
    def sha256(self) -> str:
        """Hash of the embedder's weights."""
        return self.embedder.sha256

    def embed(self, clips: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Embeddings `(n, dim)` of mono clips at 16 kHz."""
        return self.embedder.embed(clips)

    def class_logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Source logits `(n, sources)` of embeddings."""
        return self.embedder.class_logits(embeddings)

    def text_score(
        self, clips: Sequence[NDArray[np.float32]], texts: Sequence[str]
    ) -> NDArray[np.float32]:
        """Cosine of every clip with its caption, `(n,)`."""
        return self.embedder.text_score(clips, texts)

    @classmethod
    def load(cls, ear: Path = EAR_FOLDER, banks: Path = BANK_FOLDER) -> "Ear":
        """Read what ships.

        Raises:
            CheckpointError: A file is missing, or the banks were made with another embedder.
        """
        embedder = Mini128.load(ear)
        try:
            made_with = json.loads((banks / "config.json").read_text(encoding="utf-8"))
            bank = load_file(banks / f"{embedder.id}.safetensors")
            families = load_file(banks / f"{embedder.id}{FAMILIES_SUFFIX}.safetensors")
            made_with = made_with[embedder.id]["sha256"]
            whole = ReferenceBank.from_tensors(_only_statistics(bank))
            parts = {
                name: ReferenceBank.from_tensors(_group(families, name))
                for name in sorted({key.partition("/")[0] for key in families})
            }
        except (OSError, KeyError, TypeError, ValueError, SafetensorError, MetricError) as error:
            raise CheckpointError(
                f"The reference bank in {banks.parent.name}/{banks.name} cannot be read "
                f"({type(error).__name__}); restore it from git."
            ) from error
        dims = {found.dim for found in (whole, *parts.values())}
        if made_with != embedder.sha256 or dims != {embedder.dim}:
            raise CheckpointError(
                f"The reference bank was made with another {embedder.id}; make it again with "
                "`python -m assets.recipe bank`."
            )
        return cls(embedder=embedder, bank=whole, families=parts)


def _only_statistics(tensors: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    return {key: value for key, value in tensors.items() if key != "bandwidth"}


def _group(tensors: Mapping[str, NDArray[np.float64]], name: str) -> dict[str, NDArray[np.float64]]:
    prefix = f"{name}/"
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@functools.cache
def find_ear() -> Ear | str:
    """The shipped ear, or the reason why there is none."""
    try:
        return Ear.load()
    except CheckpointError as error:
        return str(error)
