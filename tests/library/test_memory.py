"""Keeping freed memory: arranged with glibc, and quietly left alone elsewhere."""

import ctypes
import subprocess
import sys

import pytest

from ptq.memory import keep_freed_memory

# Freed and allocated again, a large block's pages are the same ones: no new faults.
_FAULTS = """
import resource, sys
import torch
from ptq.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
torch.ones(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def has_glibc() -> bool:
    return sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


@pytest.mark.skipif(not has_glibc(), reason="this system's allocator is not glibc's")
def test_pages_of_freed_tensors_are_used_again() -> None:
    faults = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("kept", "returned")
    }
    assert faults["kept"] < 0.3 * faults["returned"]


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


def test_another_allocator_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_mallopt(_name: str | None) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", without_mallopt)
    assert not keep_freed_memory()
