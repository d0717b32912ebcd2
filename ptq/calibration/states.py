"""Denoiser states along the deployed sampler's trajectory for calibration."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptq.adms.base import AudioDiffusionModel, Conditioning
from ptq.adms.sampling import NoiseTape, Sampler, SamplingSettings, ShouldStop, never_stop

Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """The default for ``progress``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StatePool:
    """States of a few prompts along their trajectories.

    Attributes:
        inputs: What the denoiser was given, ``(prompts, steps, channels, frames, mels)``.
        steps: Which of the sampler's steps were kept.
        finals: Latents after the last step, ``(prompts, channels, frames, mels)``.
        settings: How the trajectories were sampled.
        prompts: The texts.
    """

    inputs: Tensor
    steps: tuple[int, ...]
    finals: Tensor
    settings: SamplingSettings
    prompts: tuple[str, ...]

    @property
    def n_steps(self) -> int:
        """Kept steps of a trajectory."""
        return len(self.steps)


def all_states(pool: StatePool) -> NDArray[np.int64]:
    """Every state of a pool as a pair of prompt and kept step, by prompt: ``(states, 2)``."""
    rows, steps = np.indices((len(pool.prompts), pool.n_steps))
    return np.stack([rows.ravel(), steps.ravel()], axis=1).astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class StateSet:
    """The states that a strategy chose, ready to be replayed.

    Attributes:
        inputs: What the denoiser is given, ``(states, channels, frames, mels)``.
        rows: Prompt of each state, ``(states,)`` int64.
        steps: The sampler's step of each state, ``(states,)`` int64.
        finals: Latents after the last step, ``(prompts, channels, frames, mels)``.
        prompts: The texts.
        settings: How the trajectories were sampled.
    """

    inputs: Tensor
    rows: Tensor
    steps: Tensor
    finals: Tensor
    prompts: tuple[str, ...]
    settings: SamplingSettings

    @classmethod
    def of(cls, pool: StatePool, chosen: NDArray[np.int64]) -> "StateSet":
        """Take states out of a pool.

        Args:
            pool: Recorded trajectories.
            chosen: ``(count, 2)`` pairs of prompt and kept step.
        """
        rows, kept = torch.from_numpy(np.ascontiguousarray(chosen.T))
        return cls(
            inputs=pool.inputs[rows, kept],
            rows=rows,
            steps=torch.tensor(pool.steps)[kept],
            finals=pool.finals,
            prompts=pool.prompts,
            settings=pool.settings,
        )

    def __len__(self) -> int:
        return len(self.rows)

    def to_tensors(self) -> dict[str, Tensor]:
        """The states as named tensors, ready for a safetensors file."""
        return {name: getattr(self, name).contiguous() for name in _TENSORS}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], prompts: tuple[str, ...], settings: SamplingSettings
    ) -> "StateSet":
        """Read what ``to_tensors`` gave; a missing tensor is a ``KeyError``."""
        found = {name: tensors[name] for name in _TENSORS}
        return cls(**found, prompts=prompts, settings=settings)


_TENSORS = ("inputs", "rows", "steps", "finals")


@dataclass(frozen=True, kw_only=True)
class StateRecorder:
    """Records the trajectories of prompts in full precision.

    Attributes:
        adm: The model.
        settings: The deployed sampler's.
        seed: Of the noise.
        batch_size: Clips sampled at once.
        most_steps: So many steps of a longer trajectory are kept, evenly spaced: neighbours are
            alike, and every state costs a run of the denoiser.
        progress: Told after every batch of clips.
        should_stop: Asked before every denoising step.
    """

    adm: AudioDiffusionModel
    settings: SamplingSettings
    seed: int
    batch_size: int = 4
    most_steps: int = 25
    progress: Progress = no_progress
    should_stop: ShouldStop = never_stop

    def record(self, prompts: Sequence[str]) -> StatePool:
        """Sample every prompt and keep the inputs of its steps."""
        conditioning = self.adm.encode(prompts)
        rows = [
            self._batch(conditioning, start, min(start + self.batch_size, len(prompts)))
            for start in range(0, len(prompts), self.batch_size)
        ]
        trajectories = torch.cat(rows)
        return StatePool(
            inputs=trajectories[:, :-1],
            steps=self._kept(),
            finals=trajectories[:, -1],
            settings=self.settings,
            prompts=tuple(prompts),
        )

    def _kept(self) -> tuple[int, ...]:
        steps = self.settings.steps
        places = np.linspace(0, steps - 1, min(steps, self.most_steps)).round()
        return tuple(int(place) for place in places)

    def _batch(self, conditioning: Conditioning, start: int, stop: int) -> Tensor:
        """The inputs of the steps that are kept, and the last output, ``(batch, kept + 1, …)``."""
        ids = range(start, stop)
        tape = NoiseTape(self.seed)
        shape = self.adm.latent_shape(len(ids), self.settings.seconds)[1:]
        seen = [tape(ids, -1, shape)]
        sampler = Sampler(
            adm=self.adm,
            settings=self.settings,
            on_step=lambda _, x: seen.append(x.clone()),
            should_stop=self.should_stop,
        )
        sampler(conditioning.rows(start, stop), tape, ids)
        self.progress(stop, len(conditioning))
        return torch.stack([seen[i] for i in (*self._kept(), -1)], dim=1)
