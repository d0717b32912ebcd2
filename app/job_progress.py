"""How far a job is, and how long it will still take."""

import math
from collections import deque
from collections.abc import Callable

_WINDOW = 24  # events that the rate is taken over: follows a slow-down, ignores a single hiccup


class Progress:
    """The reports of one job. Not thread-safe: its owner holds the lock.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began_s: float | None = None
        self.ended_s: float | None = None
        self._seen: deque[tuple[float, int]] = deque(maxlen=_WINDOW)  # (time, steps done)
        self.stage = ""
        self.done = 0
        self.total = 0

    def begin(self) -> None:
        """Start the time."""
        self._began_s = self._clock()

    def end(self) -> None:
        """Stop the time."""
        self.ended_s = self._clock()

    @property
    def has_begun(self) -> bool:
        """Whether the time was started."""
        return self._began_s is not None

    def update(self, stage: str, done: int, total: int) -> None:
        """Take one report in. A new stage, or a count that falls back, restarts the rate."""
        if stage != self.stage or done < self.done:
            self._seen.clear()
        self.stage, self.done, self.total = stage, done, total
        self._seen.append((self._clock(), done))

    def elapsed_s(self) -> float:
        """Seconds from ``begin`` to ``end``, or to now; 0 before ``begin``."""
        if self._began_s is None:
            return 0.0
        return (self._clock() if self.ended_s is None else self.ended_s) - self._began_s

    def eta_s(self) -> float | None:
        """Seconds the stage will still take at the observed rate; ``None`` before it shows one."""
        if not self._seen:
            return None
        (first_s, first_done), (last_s, last_done) = self._seen[0], self._seen[-1]
        if last_done <= first_done or last_s <= first_s:
            return None
        rate = (last_done - first_done) / (last_s - first_s)
        return max(0.0, (self.total - last_done) / rate - (self._clock() - last_s))


def in_words(seconds: float) -> str:
    """A duration as people say it: ``40 s``, ``3 min``, ``2 h``."""
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    if seconds < 90 * 60:
        return f"{math.ceil(seconds / 60)} min"
    return f"{math.ceil(seconds / 3600)} h"
