"""Shipped networks that are damaged say so, whatever is wrong with their files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ptq.errors import CheckpointError
from ptq.metrics.embed.ear import BANK_FOLDER, Ear
from ptq.metrics.embed.judge import JUDGE_FOLDER, Judge
from ptq.metrics.embed.mini import EAR_FOLDER, Mini128


def _halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _without_sources(path: Path) -> None:
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if k != "sources"}))


def _one_bit_off(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage", ["halved", "one bit off", "removed", "no sources", "no JSON", "other size"]
)
@pytest.mark.parametrize(("kind", "folder"), [(Mini128, EAR_FOLDER), (Judge, JUDGE_FOLDER)])
def test_a_damaged_network_is_named(
    kind: type[Mini128] | type[Judge], folder: Path, damage: str, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / folder.name))
    weights, config = next(copy.glob("*.safetensors")), copy / "config.json"
    if damage == "halved":
        _halved(weights)
    elif damage == "one bit off":
        _one_bit_off(weights)
    elif damage == "removed":
        weights.unlink()
    elif damage == "no sources":
        _without_sources(config)
    elif damage == "no JSON":
        config.write_text("{")
    else:
        sources = json.loads(config.read_text())
        config.write_text(json.dumps({**sources, "sources": sources["sources"][:-1]}))
    with pytest.raises(CheckpointError, match=r"restore them from git or train them again"):
        kind.load(copy)


def test_a_damaged_bank_is_named(tmp_path: Path) -> None:
    banks = Path(shutil.copytree(BANK_FOLDER, tmp_path / "bank"))
    _halved(banks / "mini128.safetensors")
    with pytest.raises(CheckpointError, match="restore it from git"):
        Ear.load(banks=banks)


def test_a_bank_of_nonsense_is_named(tmp_path: Path) -> None:
    banks = Path(shutil.copytree(BANK_FOLDER, tmp_path / "bank"))
    found = load_file(banks / "mini128.safetensors")
    for changed in ({"mean": found["mean"] * np.nan}, {"n": np.array([1, 2])}):
        save_file({**found, **changed}, banks / "mini128.safetensors")
        with pytest.raises(CheckpointError, match="restore it from git"):
            Ear.load(banks=banks)
    narrow = {"mean": found["mean"][:64].copy(), "factor": found["factor"][:, :64].copy()}
    save_file({**found, **narrow}, banks / "mini128.safetensors")
    with pytest.raises(CheckpointError, match="make it again"):
        Ear.load(banks=banks)
