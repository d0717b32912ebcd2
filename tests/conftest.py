"""What all tests share: one thread, and a tiny checkpoint in AudioLDM's published layout."""

import os

# Before torch is imported: spinning threads starve each other on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ptq.adms.audioldm import AudioLDM
from ptq.adms.registry import LOCAL_VARIABLE
from ptq.weights import QuantizedWeight
from tests.tiny_adm import write_tiny_audioldm


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One thread: timings do not depend on the machine, and neither does the order of sums."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random checkpoint on disk; never written to."""
    return write_tiny_audioldm(tmp_path_factory.mktemp("adms") / "tiny")


@pytest.fixture(scope="session")
def tiny_adm(tiny_folder: Path) -> AudioLDM:
    """The checkpoint, loaded; quantize copies of it."""
    return AudioLDM("tiny", tiny_folder)


@pytest.fixture
def tiny_alone(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny checkpoint as the only local model of the command line, and no ear."""
    monkeypatch.setenv(LOCAL_VARIABLE, f"tiny={tiny_folder}")
    monkeypatch.setattr("ptq.metrics.embed.ear.find_ear", lambda: "this test has no ear")


@pytest.fixture
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounded codes are taken over as they come, also where the output loses by them."""

    def taken_over(start: QuantizedWeight, codes: Tensor, *_: Tensor) -> QuantizedWeight:
        return replace(start, codes=codes.to(start.codes.dtype))

    monkeypatch.setattr(QuantizedWeight, "improved", taken_over)
