"""Where along the denoising trajectory quantization does its damage.

Teacher-forced: both denoisers see the same full-precision state, so the error is local to a step.
Free-running: each follows its own trajectory, so errors accumulate.  The gap between the two is
what the sampler does with the noise it is given.
"""

import numpy as np
from numpy.typing import ArrayLike

from ptq.errors import MetricError
from ptq.metrics.base import Array, as_pair


def teacher_forced_sqnr_db(reference_outputs: ArrayLike, estimate_outputs: ArrayLike) -> Array:
    """SQNR of the denoiser's output at full-precision states: ε_FP(z_t) against ε_Q(z_t).

    With guidance, call it for the conditional, the unconditional and the guided output: guidance
    multiplies the error of their difference.

    Args:
        reference_outputs: Full-precision outputs `(steps, batch, ...)`.
        estimate_outputs: Quantized outputs at the same states, same shape.

    Returns:
        SQNR in dB, `(steps, batch)`; infinite where outputs are equal.

    Raises:
        MetricError: Shapes differ, values are not finite, or a reference is all zero.
    """
    return _sqnr_per_step_db(reference_outputs, estimate_outputs)


def free_running_sqnr_db(reference_states: ArrayLike, estimate_states: ArrayLike) -> Array:
    """SQNR of the state after every step, each model on its own trajectory.

    Args:
        reference_states: Full-precision latents `(steps, batch, ...)`.
        estimate_states: Quantized latents from the same initial noise, same shape.

    Returns:
        SQNR in dB, `(steps, batch)`; infinite where states are equal.

    Raises:
        MetricError: Shapes differ, values are not finite, or a reference is all zero.
    """
    return _sqnr_per_step_db(reference_states, estimate_states)


def _sqnr_per_step_db(reference: ArrayLike, estimate: ArrayLike) -> Array:
    first, second = as_pair(reference, estimate)
    if first.ndim < 3:
        raise MetricError(f"a trajectory has shape {first.shape}; give (steps, batch, ...).")
    inner = tuple(range(2, first.ndim))
    energy = np.square(first).sum(axis=inner)
    if (energy == 0.0).any():
        step, row = (int(i) for i in np.argwhere(energy == 0.0)[0])
        raise MetricError(
            f"the reference of step {step}, row {row} is all zero, so its SQNR is undefined; "
            "leave that step out."
        )
    noise = np.square(first - second).sum(axis=inner)
    # Equal states are the null of the harness: their ratio is infinite, without a warning.
    sqnr = np.full(noise.shape, np.inf)
    np.divide(energy, noise, out=sqnr, where=noise > 0.0)
    decibels: Array = 10.0 * np.log10(sqnr)
    return decibels
