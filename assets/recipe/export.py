"""Weights as they ship: float16 safetensors, and a config that says where they came from."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn


@dataclass(frozen=True, kw_only=True)
class WeightsRecord:
    """What is written beside the weights.

    Attributes:
        name: Stem of the weights file.
        config: What the loader needs.
        training: What a reader wants to know: purpose of the seeds, steps, seconds.
    """

    name: str
    config: dict[str, Any]
    training: dict[str, Any]


def write_weights(module: nn.Module, folder: Path, record: WeightsRecord) -> str:
    """Write `folder/name.safetensors` (float16) and `folder/config.json`.

    Returns:
        SHA-256 of the weights file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        key: value.detach().cpu().to(torch.float16 if value.is_floating_point() else value.dtype)
        for key, value in module.state_dict().items()
    }
    path = folder / f"{record.name}.safetensors"
    partial = path.with_suffix(".partial")
    save_file({key: value.contiguous() for key, value in state.items()}, partial)
    sha256 = hashlib.sha256(partial.read_bytes()).hexdigest()
    # safetensors writes files that only their owner may read.
    partial.chmod(0o644)
    partial.replace(path)
    config = {**record.config, "sha256": sha256, "training": record.training}
    text = json.dumps(config, indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    return sha256
