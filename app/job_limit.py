"""How long one job may compute, so that others get their turn."""

import time
from collections.abc import Callable

from app.job import JobFunction, OnEvent, ShouldStop
from app.job_progress import in_words
from ptq.errors import Cancelled, ConfigError


def limited(
    function: JobFunction, minutes: int | None, *, clock: Callable[[], float] = time.monotonic
) -> JobFunction:
    """The same job, told to stop when its time is over.

    Args:
        function: The job; raises ``Cancelled`` where it is told to stop.
        minutes: That it may take from its start on; ``None`` for any number.
        clock: Monotonic time in seconds.

    Returns:
        A job that raises ``ConfigError`` with the way out when its time was over.
    """
    if minutes is None:
        return function

    def job(on_event: OnEvent, should_stop: ShouldStop) -> object:
        end_s = clock() + 60.0 * minutes
        try:
            return function(on_event, lambda: should_stop() or clock() > end_s)
        except Cancelled as error:
            if should_stop():
                raise
            raise ConfigError(
                f"The run took longer than the {in_words(60.0 * minutes)} that this page gives to "
                "one; start it again, and it goes on where it was, or ask for less."
            ) from error

    return job
