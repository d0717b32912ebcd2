"""A run on disk: files written atomically, so that a process killed at any moment can resume."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from ptq.errors import CheckpointError, ConfigError, RunBusyError

REPORT_NAME = "report.json"


def damage(path: Path, error: Exception) -> str:
    """What to say of a file of a run that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return f"There is no {path}; name a folder that holds it, or run its study again."
    # A finished study is taken as it is: one file less would not be noticed.
    return (
        f"{path} cannot be read ({type(error).__name__}); delete it, and its run's {REPORT_NAME} if"
        " there is one: the study makes both again."
    )


def check_link(path: Path) -> None:
    """Refuse to put a link where something else is.

    Raises:
        ConfigError: There is a file or a folder.
    """
    if path.exists() and not path.is_symlink():
        raise ConfigError(f"{path} is there already and no link; name another place for the link.")


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Where one study keeps everything; named by the hash of its inputs."""

    path: Path

    @classmethod
    def at(cls, runs: Path, identity: str) -> "RunFolder":
        """The folder of a study; it comes into being with its first file."""
        return cls(path=runs / identity[:16])

    def file(self, *names: str) -> Path:
        """A path inside the run; its parent exists."""
        path = self.path.joinpath(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file atomically."""
        path = self.file(name)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
        return path

    def write_json(self, name: str, value: Mapping[str, Any]) -> Path:
        """Write JSON values atomically."""
        return self.write_text(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read JSON values; an absent file is empty."""
        path = self.path / name
        try:
            return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
        except (OSError, TypeError, ValueError) as error:
            raise CheckpointError(damage(path, error)) from error

    def read_array(self, name: str) -> NDArray[Any]:
        """Read one array."""
        path = self.path / name
        try:
            array: NDArray[Any] = np.load(path)
        except (OSError, ValueError, EOFError) as error:
            raise CheckpointError(damage(path, error)) from error
        return array

    def write_array(self, name: str, array: NDArray[Any]) -> Path:
        """Write one array atomically."""
        path = self.file(name)
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as stream:
            np.save(stream, array)
        partial.replace(path)
        return path

    def forget(self, name: str) -> None:
        """Delete a folder of the run, if it is there."""
        shutil.rmtree(self.path / name, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out: two that write the same files would tear them.

        Raises:
            RunBusyError: Another process is at work on this run.
        """
        try:
            with FileLock(self.file(".lock"), blocking=False):
                yield
        except Timeout as error:
            raise RunBusyError(
                f"Another process is at work on {self.path}; wait for it, or stop it."
            ) from error

    def link(self, path: Path) -> None:
        """Make ``path`` a symbolic link to the run, replacing an older link.

        Raises:
            ConfigError: There is something else at ``path``.
        """
        check_link(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        partial.symlink_to(self.path.resolve(), target_is_directory=True)
        partial.replace(path)
