"""The reference bank: corpus clips as the Gaussians that Fréchet distances are measured from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from assets.recipe.corpus import CORPUS_VERSION, SEED_OF, corpus_clip
from assets.recipe.dataset import scene_of
from ptq.metrics.embed.base import Embedder
from ptq.metrics.embed.ear import FAMILIES_SUFFIX
from ptq.metrics.frechet import ReferenceBank
from ptq.metrics.kernel import median_distance
from ptq.prompts.lexicon import default_lexicon

BANK_CLIPS = 10_240
_SHARD_CLIPS = 256
_RENDERED_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class BankStage:
    """Embed clips of purpose "bank" while they are rendered; no audio touches the disk.

    Attributes:
        embedders: For each of them one bank is written.
        folder: Where finished shards of embeddings are kept, so that a rerun resumes.
        n_clips: A multiple of 256.
    """

    embedders: Sequence[Embedder]
    folder: Path
    n_clips: int = BANK_CLIPS

    def write(self, folder: Path) -> None:
        """Embed what is missing and write `<embedder>.safetensors` and `config.json`."""
        shards = [self._shard(index) for index in range(self.n_clips // _SHARD_CLIPS)]
        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, object] = {
            "clips": self.n_clips,
            "first_seed": SEED_OF["bank"],
            "corpus_version": CORPUS_VERSION,
        }
        for column, embedder in enumerate(self.embedders):
            rows = np.concatenate([shard[column] for shard in shards])
            write_bank(rows, folder / f"{embedder.id}.safetensors")
            write_family_banks(rows, folder / f"{embedder.id}{FAMILIES_SUFFIX}.safetensors")
            config[embedder.id] = {"sha256": embedder.sha256, "dim": embedder.dim}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def _path(self, embedder: Embedder, index: int) -> Path:
        name = f"{embedder.id}-{embedder.sha256[:12]}-v{CORPUS_VERSION}-{index * _SHARD_CLIPS}.npy"
        return self.folder / name

    def _shard(self, index: int) -> list[NDArray[np.float32]]:
        """Embeddings `(256, dim)` of one shard, by every embedder."""
        paths = [self._path(embedder, index) for embedder in self.embedders]
        if not all(path.exists() for path in paths):
            self.folder.mkdir(parents=True, exist_ok=True)
            for path, rows in zip(paths, self._embedded(index), strict=True):
                partial = path.with_suffix(".partial.npy")
                np.save(partial, rows)
                partial.replace(path)
            print(f"bank: {(index + 1) * _SHARD_CLIPS}/{self.n_clips} clips", flush=True)
        return [np.load(path) for path in paths]

    def _embedded(self, index: int) -> list[NDArray[np.float32]]:
        first = SEED_OF["bank"] + index * _SHARD_CLIPS
        parts: list[list[NDArray[np.float32]]] = [[] for _ in self.embedders]
        for start in range(first, first + _SHARD_CLIPS, _RENDERED_AT_ONCE):
            clips = [corpus_clip(start + i).samples for i in range(_RENDERED_AT_ONCE)]
            for part, embedder in zip(parts, self.embedders, strict=True):
                part.append(embedder.embed(clips))
        return [np.concatenate(part) for part in parts]


def write_family_banks(embeddings: NDArray[np.float32], path: Path) -> None:
    """Write a bank for each family: the clips of `(n, dim)` that hold one of its sounds."""
    lexicon = default_lexicon()
    held = [
        {lexicon[source].family for source in scene_of(SEED_OF["bank"] + i).sources}
        for i in range(len(embeddings))
    ]
    tensors: dict[str, NDArray[Any]] = {}
    for family in lexicon.families:
        rows = embeddings[np.array([family in families for families in held])]
        for key, value in ReferenceBank.from_embeddings(rows).to_tensors().items():
            tensors[f"{family}/{key}"] = np.ascontiguousarray(value)
    _save(tensors, path)


def write_bank(embeddings: NDArray[np.float32], path: Path) -> None:
    """Write n, mean and factor of `(n, dim)` embeddings as float64, and KAD's bandwidth."""
    tensors = ReferenceBank.from_embeddings(embeddings).to_tensors()
    tensors["bandwidth"] = np.asarray([median_distance(embeddings)])
    _save(tensors, path)


def _save(tensors: dict[str, NDArray[Any]], path: Path) -> None:
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    # safetensors writes files that only their owner may read.
    partial.chmod(0o644)
    partial.replace(path)
