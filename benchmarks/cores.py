"""How many cores there are to work with."""

import os


def usable_cores() -> int:
    """Cores that this process may use: those of a container where the system tells, else all."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return os.cpu_count() or 1 if affinity is None else len(affinity(0))
