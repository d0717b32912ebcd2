"""Named tensors on disk, written atomically; nothing is ever unpickled."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ptq.errors import CheckpointError
from ptq.run_folder import damage

T = TypeVar("T")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(dict(tensors), partial)
    partial.replace(path)


def read_tensors(path: Path, take: Callable[[dict[str, Tensor]], T]) -> T:
    """Read a safetensors file and make a value of its tensors.

    Raises:
        CheckpointError: If it cannot be read or lacks what ``take`` asks for.
    """
    try:
        return take(load_file(path))
    except (OSError, KeyError, SafetensorError) as error:
        raise CheckpointError(damage(path, error)) from error
