"""Everything of a run in one file."""

import secrets
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ptq.errors import CheckpointError

# The latents of every step are large and can be made again.
_LEFT_OUT = (".npy", ".partial", ".lock")


def write_archive(run: Path, target: Path) -> Path:
    """Zip a run folder without its intermediate latents; atomic, and made once per report.

    Args:
        run: A finished run.
        target: The file to write; its name without suffix becomes the folder inside.

    Raises:
        CheckpointError: The run was deleted meanwhile, or the disk is full.
    """
    if target.is_file() and target.stat().st_mtime >= run.stat().st_mtime:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}.partial")
    try:
        # FLAC and packed weights do not shrink any more: storing them is ten times faster.
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for path in _files(run):
                archive.write(path, f"{target.stem}/{path.relative_to(run).as_posix()}")
        return partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(
            "The run could not be packed: it was deleted meanwhile to make room, or the disk is"
            " full; run the study again."
        ) from error


def _files(run: Path) -> Iterator[Path]:
    found = sorted(path for path in run.rglob("*") if path.is_file())
    return (path for path in found if not path.name.endswith(_LEFT_OUT))
