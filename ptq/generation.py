"""Clips from an ADM: prompts in, samples and the latents of every step out."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.sampling import (
    Correct,
    NoiseTape,
    OnStep,
    Sampler,
    SamplingSettings,
    ShouldStop,
    never_stop,
)
from ptq.audio import AudioClip


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneratedClip:
    """A clip and how it came about.

    Attributes:
        sample_id: Which sample of the noise tape it is.
        audio: The samples.
        latents: Latents after every step, ``(steps, channels, frames, mels)`` float32.
    """

    sample_id: int
    audio: AudioClip
    latents: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """What to generate; two models given the same request make a pair."""

    prompts: tuple[str, ...]
    seed: int
    settings: SamplingSettings


@dataclass(frozen=True, kw_only=True)
class Generator:
    """Generates the clips of a request from one model.

    Batches are aligned to multiples of ``batch_size``: quantized rounding amplifies the tiny
    numerical difference between batch sizes, so both members of a pair, and a resumed run,
    must be generated in the same batches.

    ``correct`` improves guided predictions, see ``ptq.calibration.correction``. ``cached`` keeps
    what the denoiser would compute again, which changes clips by float32 rounding.
    """

    adm: AudioDiffusionModel
    batch_size: int = 4
    on_step: OnStep | None = None
    should_stop: ShouldStop = never_stop
    correct: Correct | None = None
    cached: bool = False

    def __call__(
        self, request: GenerationRequest, skip: frozenset[int] = frozenset()
    ) -> Iterator[GeneratedClip]:
        """Yield clips in order.

        Args:
            request: Prompts, seed and settings; sample ids are positions in ``prompts``.
            skip: Sample ids that are not wanted; a batch without any wanted one is not run.

        Raises:
            Cancelled: As soon as ``should_stop`` says so.
        """
        with self.adm.caching() if self.cached else nullcontext():
            for start in range(0, len(request.prompts), self.batch_size):
                ids = range(start, min(start + self.batch_size, len(request.prompts)))
                if skip.issuperset(ids):
                    continue
                made = self._batch(request, ids)
                yield from (clip for clip in made if clip.sample_id not in skip)

    def _batch(self, request: GenerationRequest, ids: Sequence[int]) -> Iterator[GeneratedClip]:
        conditioning = self.adm.encode([request.prompts[i] for i in ids])
        trajectory: list[Tensor] = []

        def keep(step: int, latents: Tensor) -> None:
            trajectory.append(latents)
            if self.on_step is not None:
                self.on_step(step, latents)

        sampler = Sampler(
            adm=self.adm,
            settings=request.settings,
            on_step=keep,
            should_stop=self.should_stop,
            correct=self.correct,
        )
        final = sampler(conditioning, NoiseTape(request.seed), ids)
        waves = self.adm.vocode(self.adm.decode(final)).float().numpy()
        steps = torch.stack(trajectory, dim=1).float().numpy()
        for row, sample_id in enumerate(ids):
            audio = self._trim(waves[row], request.settings.seconds)
            yield GeneratedClip(sample_id=sample_id, audio=audio, latents=steps[row])

    def _trim(self, samples: NDArray[np.float32], seconds: float) -> AudioClip:
        """A vocoder rounds up to whole frames; the clip ends where was asked, to a frame."""
        rate = self.adm.spec.sample_rate_hz
        return AudioClip(samples=samples[: round(seconds * rate)], sample_rate_hz=rate)
