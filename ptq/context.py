"""Where in its trajectory the denoiser is: what quantizers and hooks may ask at any depth."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ptq.errors import CalibrationError


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """One call of the denoiser.

    Attributes:
        step: index into the sampling schedule, 0 first.
        n_steps: length of the schedule.
        t: the model time of this step, in the units of the model.
        branch: ``"cond"`` or ``"uncond"`` for each row of the batch.
        sample_ids: the sample that each row belongs to.
    """

    step: int
    n_steps: int
    t: float
    branch: tuple[str, ...] = ()
    sample_ids: tuple[int, ...] = ()

    def bucket(self, n_buckets: int) -> int:
        """Return which of ``n_buckets`` equal parts of the trajectory this step lies in."""
        return min(self.step * n_buckets // self.n_steps, n_buckets - 1)


_CURRENT: ContextVar[StepContext | None] = ContextVar("ptq_step", default=None)


def current_step() -> StepContext | None:
    """Return the step under way in this thread, ``None`` outside the denoising loop."""
    return _CURRENT.get()


def active_bucket(n_buckets: int) -> int:
    """Return the part of the trajectory that is under way, of ``n_buckets`` equal ones.

    Raises:
        CalibrationError: outside the denoising loop, unless there is one bucket only.
    """
    if n_buckets == 1:
        return 0
    context = current_step()
    if context is None:
        raise CalibrationError(
            f"ranges for {n_buckets} timestep buckets need a current step;"
            " run the model inside step_context, or plan one bucket."
        )
    return context.bucket(n_buckets)


@contextmanager
def step_context(context: StepContext) -> Iterator[StepContext]:
    """Make ``context`` the current step for the duration of a ``with`` block."""
    token = _CURRENT.set(context)
    try:
        yield context
    finally:
        _CURRENT.reset(token)
