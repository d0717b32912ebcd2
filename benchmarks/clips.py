"""Clips for benchmarks: generated once, kept on disk, so that an interrupted script resumes."""

import hashlib
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.sampling import SamplingSettings
from ptq.audio import AudioClip, read_clip, write_clip
from ptq.generation import GenerationRequest, Generator

RESULTS = Path(__file__).resolve().parent / "results"
CACHE = Path("runs") / "benchmarks"
SETTINGS = SamplingSettings(steps=20, guidance=2.5, seconds=5.12)
_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class ClipBank:
    """The clips of one model for one list of prompts and one seed."""

    name: str
    adm: AudioDiffusionModel
    prompts: tuple[str, ...]
    seed: int
    settings: SamplingSettings = SETTINGS

    @property
    def folder(self) -> Path:
        """Where the clips lie; another model never finds them."""
        asked = json.dumps([self.prompts, asdict(self.settings)])
        digest = hashlib.sha256(asked.encode()).hexdigest()[:8]
        return CACHE / self.adm.source_hash[:12] / f"{self.name}-{self.seed}-{digest}"

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:04d}.flac"

    def clips(self) -> list[AudioClip]:
        """Generate what is missing, then read everything."""
        n = len(self.prompts)
        present = frozenset(i for i in range(n) if self._path(i).exists())
        request = GenerationRequest(prompts=self.prompts, seed=self.seed, settings=self.settings)
        start, generator = time.monotonic(), Generator(adm=self.adm, batch_size=_BATCH)
        for done, clip in enumerate(generator(request, skip=present), start=1):
            # The clip is written last: where it exists, its latents do.
            self.folder.mkdir(parents=True, exist_ok=True)
            np.save(self._path(clip.sample_id).with_suffix(".npy"), clip.latents[-1])
            write_clip(self._path(clip.sample_id), clip.audio)
            left = (time.monotonic() - start) / done * (n - len(present) - done)
            print(
                f"{self.name}: {len(present) + done}/{n}, {left / 60:.0f} min left",
                end="\r",
                file=sys.stderr,
                flush=True,
            )
        return [read_clip(self._path(i)) for i in range(n)]

    def samples(self) -> list[NDArray[np.float32]]:
        """Samples of every clip."""
        return [clip.samples for clip in self.clips()]

    def latents(self) -> list[NDArray[np.float32]]:
        """Final latents of every clip; the clips must exist."""
        return [np.load(self._path(i).with_suffix(".npy")) for i in range(len(self.prompts))]


def write_results(name: str, value: dict[str, object]) -> Path:
    """Write the raw figures of a table."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path
