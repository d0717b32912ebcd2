"""Keeps freed memory, so that a denoiser does not ask the system for the same pages again."""

import ctypes
import ctypes.util
import sys

# Names of glibc's mallopt; see its manual page.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER = 2**31 - 1
_PAD_BYTES = 256 << 20


def keep_freed_memory() -> bool:
    """Let the process keep what it frees, for its next large tensor; call it once, at the start.

    By default glibc returns large blocks to the system at once, and every activation of a model
    then faults its pages in again.

    Returns:
        Whether it could be arranged: there is another allocator than glibc's on other systems.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(ctypes.util.find_library("c")).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _PAD_BYTES))
    return all(mallopt(name, value) == 1 for name, value in settings)
