"""Rendered clips on disk: int16 shards per purpose and length, each written atomically once."""

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assets.recipe.corpus import CORPUS_VERSION, SAMPLE_RATE_HZ, SEED_OF, corpus_clip
from ptq.prompts.grammar import caption, draw_scene
from ptq.prompts.scene import Scene

SHARD_CLIPS = 1000
_INT16 = 32767.0


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Clips of one purpose and length; clip ``i`` is corpus seed ``first_seed + i``."""

    folder: Path
    purpose: str
    seconds: float
    n_shards: int
    offset: int = 0

    @property
    def first_seed(self) -> int:
        """Corpus seed of clip 0."""
        return SEED_OF[self.purpose] + self.offset

    @property
    def n_samples(self) -> int:
        """Samples in a clip."""
        return round(self.seconds * SAMPLE_RATE_HZ)

    def __len__(self) -> int:
        return self.n_shards * SHARD_CLIPS

    def shard_path(self, index: int) -> Path:
        """File of one shard."""
        stem = (
            f"{self.purpose}-v{CORPUS_VERSION}-{self.n_samples}-{self.offset + index * SHARD_CLIPS}"
        )
        return self.folder / f"{stem}.npy"

    def write(self, processes: int = 2) -> None:
        """Render what is missing."""
        missing = [i for i in range(self.n_shards) if not self.shard_path(i).exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        with multiprocessing.Pool(processes) as pool:
            for done, index in enumerate(pool.imap(self._write_shard, missing), start=1):
                print(
                    f"corpus {self.purpose} {self.seconds} s: shard {index}, {done}/{len(missing)}",
                    flush=True,
                )

    def _write_shard(self, index: int) -> int:
        start = self.first_seed + index * SHARD_CLIPS
        clips = np.empty((SHARD_CLIPS, self.n_samples), dtype=np.int16)
        for i in range(SHARD_CLIPS):
            samples = corpus_clip(start + i, self.seconds).samples
            clips[i] = np.round(samples * _INT16)
        partial = self.shard_path(index).with_suffix(".partial.npy")
        np.save(partial, clips)
        partial.replace(self.shard_path(index))
        return index

    def open(self) -> list[NDArray[np.int16]]:
        """Memory-mapped shards, ``(1000, samples)`` each."""
        return [np.load(self.shard_path(i), mmap_mode="r") for i in range(self.n_shards)]


def gather(shards: Sequence[NDArray[np.int16]], indices: NDArray[np.int64]) -> NDArray[np.float32]:
    """Clips by index as float32 ``(batch, samples)``."""
    rows = [shards[i // SHARD_CLIPS][i % SHARD_CLIPS] for i in indices]
    return np.stack(rows).astype(np.float32) / np.float32(_INT16)


def scene_of(seed: int) -> Scene:
    """The scene that ``corpus_clip(seed)`` renders, without rendering it."""
    return draw_scene(np.random.default_rng([CORPUS_VERSION, seed]))


def caption_of(seed: int, wording: int) -> str:
    """One of many wordings of what clip ``seed`` holds."""
    return caption(scene_of(seed), np.random.default_rng([CORPUS_VERSION, seed, wording]))
