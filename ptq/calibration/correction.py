"""PTQD (He et al. 2023, arXiv 2305.10657): take the predictable part of the noise out again.

What quantization adds to a prediction is partly the prediction itself, scaled, and partly a mean:
D = k ε + D′ with D′ ~ N(μ, σ²). Both are fitted step by step on states that nothing else was fitted
to, after guidance, and undone while sampling: ε ← (ε̂ − μ) / (1 + k). ε stands for whatever the
denoiser predicts, the velocity included, and k for a share that is never negative. What is left, σ,
could be taken off the noise that a stochastic sampler adds; the samplers here add none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ptq.calibration.replay import Replay
from ptq.errors import CalibrationError

_QUIETEST = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class SamplerCorrection:
    """What to undo at each step of the sampler that it was fitted for.

    Attributes:
        scale: k, never negative, (steps,).
        mean: μ of each latent channel, (steps, channels).
        deviation: σ of what is left, (steps,); kept, not used.
    """

    scale: Tensor
    mean: Tensor
    deviation: Tensor

    def __call__(self, predicted: Tensor, step: int) -> Tensor:
        """Undo the noise of guided predictions ``(batch, channels, …)`` at one step."""
        mean = self.mean[step].to(predicted)
        shape = (1, -1, *(1,) * (predicted.ndim - 2))
        return (predicted - mean.reshape(shape)) / (1.0 + float(self.scale[step]))

    def to_tensors(self) -> dict[str, Tensor]:
        """The correction as named tensors, ready for a safetensors file."""
        return {"scale": self.scale, "mean": self.mean, "deviation": self.deviation}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "SamplerCorrection":
        """Read what ``to_tensors`` gave; a missing tensor is a ``KeyError``."""
        return cls(**{name: tensors[name] for name in ("scale", "mean", "deviation")})


def fit_correction(full: Replay, quantized: Replay) -> SamplerCorrection:
    """Fit on states that were passed through both models.

    Args:
        full: The full-precision model and held-out states, at least one of each step.
        quantized: The quantized model and the same states.

    Raises:
        CalibrationError: If a step has no state.
        Cancelled: As soon as a replay is told to stop.
    """
    exact, close = full.predictions().double(), quantized.predictions().double()
    rows = [
        _fit_step(exact[full.states.steps == step], close[full.states.steps == step], step)
        for step in range(full.states.settings.steps)
    ]
    scale, mean, deviation = (torch.stack(values).float() for values in zip(*rows, strict=True))
    return SamplerCorrection(scale=scale, mean=mean, deviation=deviation)


def _fit_step(exact: Tensor, close: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
    if not len(exact):
        raise CalibrationError(
            f"No held-out state lies at step {step + 1}; ask for at least one state a step."
        )
    noise = close - exact
    others = [dim for dim in range(exact.ndim) if dim != 1]
    # A channel's mean belongs to μ: without it, k is the slope of a regression.
    level, bias = (x.mean(dim=others, keepdim=True) for x in (exact, noise))
    centred = exact - level
    power = centred.square().sum().clamp(min=_QUIETEST)
    scale = (((noise - bias) * centred).sum() / power).clamp(min=0.0)
    mean = bias - scale * level
    left = noise - scale * exact - mean
    return scale, mean.flatten(), left.square().mean().sqrt()
