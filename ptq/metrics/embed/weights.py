"""Reads a shipped network: its configuration and its weights."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ptq.errors import CheckpointError

Network = TypeVar("Network")
Build = Callable[[dict[str, Any], dict[str, Tensor]], Network]


def read_network(folder: Path, name: str, build: Build[Network]) -> Network:
    """Build a network from ``config.json`` and ``name.safetensors`` of a folder in ``assets/``.

    Args:
        folder: Where both lie.
        name: What is read.
        build: Makes it from configuration and weights.

    Raises:
        CheckpointError: A file is missing, damaged, or does not fit.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        data = (folder / f"{name}.safetensors").read_bytes()
        _check_hash(data, config["sha256"])
        return build(config, load(data))
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"The weights of {name} in assets/{folder.name} cannot be read "
            f"({type(error).__name__}); restore them from git or train them again with "
            f"`python -m assets.recipe {folder.name}`."
        ) from error


def _check_hash(data: bytes, sha256: str) -> None:
    """Scores of different weights are told apart by their hash: it has to be theirs."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CheckpointError("The weights are not those of the configuration; restore both.")
