"""The sampling loop: the same for every ADM, precision, batch size and device."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptq.adms.base import AudioDiffusionModel, Conditioning
from ptq.context import StepContext, step_context
from ptq.errors import Cancelled

OnStep = Callable[[int, Tensor], None]
ShouldStop = Callable[[], bool]
Correct = Callable[[Tensor, int], Tensor]


def never_stop() -> bool:
    """The default for ``should_stop``."""
    return False


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How latents are sampled.

    Attributes:
        steps: Denoising steps from noise to sound.
        guidance: Weight of the conditional prediction; 1 asks for that alone.
        seconds: Length of a clip.
    """

    steps: int
    guidance: float
    seconds: float


class NoiseTape:
    """Standard normal noise keyed by ``(seed, sample, step)``.

    The numbers do not depend on batch size, device, precision or quantization, so two clips of
    a pair differ by quantization alone.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, sample_ids: Sequence[int], step: int, shape: Sequence[int]) -> Tensor:
        """Noise ``(batch, *shape)`` of one step; step -1 is the initial latents."""
        return torch.stack([self._one(sample, step, shape) for sample in sample_ids])

    def _one(self, sample: int, step: int, shape: Sequence[int]) -> Tensor:
        key = f"{self.seed}/{sample}/{step}".encode()
        seed = int.from_bytes(hashlib.blake2b(key, digest_size=7).digest(), "big")
        return torch.randn(tuple(shape), generator=torch.Generator("cpu").manual_seed(seed))


def _stacked(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: torch.cat([first[key], second[key]]) for key in first}


def predict(
    adm: AudioDiffusionModel,
    x: Tensor,
    conditioning: Conditioning,
    context: StepContext,
    guidance: float,
) -> Tensor:
    """One guided prediction for latents ``x`` at the step that ``context`` names.

    Args:
        adm: The model.
        x: Latents ``(batch, ...)``.
        conditioning: Of the same batch.
        context: Step, time and sample ids; branches are filled in here.
        guidance: Classifier-free guidance scale; 1 or less evaluates the text branch alone.
    """
    n = len(x)
    ids = context.sample_ids

    def run(rows: Tensor, kwargs: Mapping[str, Tensor], branch: tuple[str, ...]) -> Tensor:
        here = StepContext(
            step=context.step,
            n_steps=context.n_steps,
            t=context.t,
            branch=branch,
            sample_ids=ids * (len(rows) // n),
        )
        with step_context(here):
            return adm.denoise(rows, context.t, kwargs)

    if guidance <= 1.0:
        return run(x, conditioning.cond, ("cond",) * n)
    both = _stacked(conditioning.uncond, conditioning.cond)
    uncond, cond = run(torch.cat([x, x]), both, ("uncond",) * n + ("cond",) * n).chunk(2)
    return adm.guide(uncond, cond, guidance)


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Samples latents from one ADM.

    ``on_step`` receives the step index and the latents after it; ``should_stop`` is asked before
    every step; ``correct`` is given every guided prediction and its step, and returns a better one.
    """

    adm: AudioDiffusionModel
    settings: SamplingSettings
    on_step: OnStep | None = None
    should_stop: ShouldStop = never_stop
    correct: Correct | None = None

    @torch.inference_mode()
    def __call__(
        self, conditioning: Conditioning, tape: NoiseTape, sample_ids: Sequence[int]
    ) -> Tensor:
        """Sample latents for one batch.

        Raises:
            Cancelled: As soon as ``should_stop`` says so.
        """
        ids = tuple(sample_ids)
        shape = self.adm.latent_shape(len(ids), self.settings.seconds)[1:]
        times = self.adm.schedule(self.settings.steps)
        x = tape(ids, -1, shape)
        for index, t in enumerate(times):
            if self.should_stop():
                raise Cancelled(f"Stopped before denoising step {index + 1} of {len(times)}.")
            context = StepContext(step=index, n_steps=len(times), t=t, sample_ids=ids)
            prediction = predict(self.adm, x, conditioning, context, self.settings.guidance)
            if self.correct is not None:
                prediction = self.correct(prediction, index)
            x = self.adm.step(prediction, t, x, tape(ids, index, shape))
            if self.on_step is not None:
                self.on_step(index, x)
        return x
