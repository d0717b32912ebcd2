"""A folder of safetensors shards with a JSON index: named tensors, hashed, written atomically.

The index is part of what a model takes on disk: it is written without spaces, and does not repeat
the names that the shards' own headers hold.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ptq.errors import CheckpointError

INDEX_NAME = "index.json"
SHARD_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """What a folder holds.

    Attributes:
        content: JSON values that describe the tensors; the caller's.
        sha256: hash of each shard.
    """

    content: Mapping[str, Any]
    sha256: Mapping[str, str]


def write_shards(
    folder: Path,
    tensors: Iterable[tuple[str, Tensor]],
    content: Mapping[str, Any],
    *,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write tensors and their index to ``folder``, which appears complete or not at all.

    A folder of that name is replaced. Tensors are taken one after the other, and no more than one
    shard of them is held in memory.
    """
    with _replacing(folder) as partial:
        sha256: dict[str, str] = {}
        for number, shard in enumerate(_batches(tensors, shard_bytes), start=1):
            name = f"weights-{number:05d}.safetensors"
            save_file(shard, partial / name)
            sha256[name] = _file_sha256(partial / name)
        index = json.dumps({"content": dict(content), "sha256": sha256}, separators=(",", ":"))
        (partial / INDEX_NAME).write_text(index, encoding="utf-8")


def read_index(folder: Path) -> ShardIndex:
    """Return the index of a folder.

    Raises:
        CheckpointError: when it is missing or damaged.
    """
    path = folder / INDEX_NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        index = ShardIndex(content=dict(data["content"]), sha256=dict(data["sha256"]))
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no {path}; name the folder that was saved.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); save the model again.") from error
    for name in index.sha256:
        if Path(name).name != name:
            raise CheckpointError(f"{path} points to '{name}', outside its folder; do not use it.")
    return index


def verify_shards(folder: Path, index: ShardIndex) -> None:
    """Check every shard against its hash.

    Raises:
        CheckpointError: for a shard that is missing or whose content has changed.
    """
    for name, sha256 in sorted(index.sha256.items()):
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"the shard {path} is missing; save the model again.")
        if _file_sha256(path) != sha256:
            raise CheckpointError(f"the shard {path} does not match its hash; save it again.")


class ShardReader:
    """Reads tensors by name from memory-mapped shards; use it in a ``with`` block."""

    def __init__(self, folder: Path, index: ShardIndex) -> None:
        self._folder, self._index = folder, index
        self._shards: dict[str, Any] = {}

    def __enter__(self) -> "ShardReader":
        for name in self._index.sha256:
            try:
                shard: Any = safe_open(self._folder / name, framework="pt")
            except (SafetensorError, OSError) as error:
                raise CheckpointError(
                    f"{self._folder / name} cannot be read ({error}); save it again."
                ) from error
            self._shards.update(dict.fromkeys(shard.keys(), shard))
        return self

    def __exit__(self, *_: object) -> None:
        self._shards.clear()

    def __iter__(self) -> Iterator[str]:
        return iter(self._shards)

    def read(self, name: str) -> Tensor:
        """Return the tensor called ``name``.

        Raises:
            CheckpointError: when it is missing or cannot be read.
        """
        if name not in self._shards:
            raise CheckpointError(
                f"{self._folder} holds no tensor '{name}'; it was saved from another model."
            )
        tensor: Tensor = self._shards[name].get_tensor(name)
        return tensor


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(partial, folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _batches(
    tensors: Iterable[tuple[str, Tensor]], shard_bytes: int
) -> Iterator[dict[str, Tensor]]:
    batch: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if batch and size + tensor.nbytes > shard_bytes:
            yield batch
            batch, size = {}, 0
        batch[name] = tensor.contiguous()
        size += tensor.nbytes
    if batch:
        yield batch


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored_bytes(folder: Path) -> dict[str, int]:
    """Return the bytes that each layer or other module takes in a checkpoint, headers not counted.

    A tensor belongs to the module that its name begins with: ``a.b/codes`` and ``a.b.bias`` to
    ``a.b``.
    """
    index = read_index(folder)
    found: dict[str, int] = {}
    with ShardReader(folder, index) as reader:
        for name in reader:
            owner = name.rpartition("/")[0] or name.rpartition(".")[0]
            found[owner] = found.get(owner, 0) + reader.read(name).nbytes
    return found
