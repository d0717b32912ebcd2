"""Clips for benchmarks: generated once, kept on disk, so that an interrupted script resumes."""

import hashlib
import json
import multiprocessing
import sys
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from benchmarks.cores import usable_cores
from ptq.adms.base import AudioDiffusionModel
from ptq.adms.placed import accelerator, placed
from ptq.adms.sampling import SamplingSettings
from ptq.audio import AudioClip, read_generated, write_clip
from ptq.generation import GenerationRequest, Generator
from ptq.memory import keep_freed_memory

CACHE = Path("runs") / "benchmarks"
SETTINGS = SamplingSettings(steps=20, guidance=2.5, seconds=5.12)
# Prompts of one folder: banks of whole blocks of one list share clips.
BLOCK = 512
_BATCH, _GPU_BATCH = 8, 16
_LOOK_S = 2.0


@dataclass(frozen=True, kw_only=True)
class ClipBank:
    """The clips of one model for one list of prompts and one seed.

    They are found again by the full-precision weights, the name, which says the plan, prompts, seed
    and settings: after a change to how a plan is carried out, delete ``runs/benchmarks`` and the
    results. They lie in blocks: a longer list begins with the whole blocks of a shorter one.
    Those of a GPU, where there is one, lie apart: pairs are of one device.
    """

    name: str
    adm: AudioDiffusionModel
    prompts: tuple[str, ...]
    seed: int
    settings: SamplingSettings = SETTINGS

    def _path(self, index: int) -> Path:
        # The number is part of the noise: a block's clips are its own wherever its prompts recur.
        return self._folders[index // BLOCK] / f"{index:04d}.flac"

    @cached_property
    def _folders(self) -> tuple[Path, ...]:
        """One for each block."""
        starts = range(0, len(self.prompts), BLOCK)
        return tuple(self._folder(self.prompts[start : start + BLOCK]) for start in starts)

    def _folder(self, prompts: tuple[str, ...]) -> Path:
        asked = json.dumps([prompts, asdict(self.settings)])
        digest = hashlib.sha256(asked.encode()).hexdigest()[:8]
        name = f"{self.name}-{len(prompts)}-{self.seed}-{digest}"
        return self._cache / name

    @property
    def _cache(self) -> Path:
        made_on = accelerator().type
        model = self.adm.source_hash[:12]
        return CACHE / (model if made_on == "cpu" else f"{model}-{made_on}")

    def clips(self) -> list[AudioClip]:
        """Generate what is missing, on a GPU or a process a core, then read everything.

        Two benchmarks may ask for the same clips: the second waits for the first.
        """
        n = len(self.prompts)
        self._cache.mkdir(parents=True, exist_ok=True)
        with FileLock(self._cache / f"{self.name}-{self.seed}.lock"):
            there = frozenset(i for i in range(n) if self._path(i).exists())
            if len(there) < n and accelerator().type == "cpu":
                self._generate(n - len(there))
            elif len(there) < n:
                self._make(placed(self.adm, accelerator()), _GPU_BATCH, there)
        return [read_generated(self._path(i)) for i in range(n)]

    def _generate(self, missing: int) -> None:
        # Two processes of one thread are faster than one of two, which wait for each other.
        spawn, n = multiprocessing.get_context("spawn"), len(self.prompts)
        count = min(usable_cores(), -(-missing // _BATCH))
        workers = [spawn.Process(target=self.work, args=(i, count)) for i in range(count)]
        for worker in workers:
            worker.start()
        start = time.monotonic()
        while any(worker.is_alive() for worker in workers):
            time.sleep(_LOOK_S)
            done = missing - sum(not self._path(i).exists() for i in range(n))
            left = (time.monotonic() - start) / max(done, 1) * (missing - done)
            print(
                f"{self.name}: {n - missing + done}/{n}, {left / 60:.0f} min left",
                end="\r",
                file=sys.stderr,
                flush=True,
            )
        if any(worker.exitcode for worker in workers):
            raise SystemExit(f"Generating {self.name} failed; see above, and start again.")

    def work(self, index: int, count: int) -> None:
        """Generate every ``count``-th batch of what is missing, from ``index`` on.

        Batches are those of a single process: a clip does not depend on who makes it.
        """
        keep_freed_memory()
        torch.set_num_threads(1)
        n = len(self.prompts)
        skip = frozenset(
            i for i in range(n) if i // _BATCH % count != index or self._path(i).exists()
        )
        self._make(self.adm, _BATCH, skip)

    def _make(self, adm: AudioDiffusionModel, batch: int, skip: frozenset[int]) -> None:
        request = GenerationRequest(prompts=self.prompts, seed=self.seed, settings=self.settings)
        for clip in Generator(adm=adm, batch_size=batch)(request, skip=skip):
            # The clip is written last: where it exists, its latents do.
            path = self._path(clip.sample_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path.with_suffix(".npy"), clip.latents[-1])
            write_clip(path, clip.audio)

    def samples(self) -> list[NDArray[np.float32]]:
        """Samples of every clip."""
        return [clip.samples for clip in self.clips()]

    def latents(self) -> list[NDArray[np.float32]]:
        """Final latents of every clip; the clips must exist."""
        return [np.load(self._path(i).with_suffix(".npy")) for i in range(len(self.prompts))]
