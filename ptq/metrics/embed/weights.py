"""Reads a shipped network: its configuration and its weights."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ptq.errors import CheckpointError


def read_network(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read ``config.json`` and ``name.safetensors`` of a folder in ``assets/``.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return config, load_file(folder / f"{name}.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"The weights of {name} in assets/{folder.name} cannot be read "
            f"({type(error).__name__}); restore them from git or train them again with "
            f"`python -m assets.recipe {folder.name}`."
        ) from error
