"""Keeps the disk of a hosted page from filling up with the runs of its visitors."""

import re
import shutil
from collections.abc import Collection
from pathlib import Path

from ptq.run_folder import REPORT_NAME

# What a study's folder is called: the first 16 digits of its identity.
_RUN_NAME = re.compile(r"[0-9a-f]{16}")


def prune_runs(runs: Path, *, keep: int, spared: Collection[Path] = ()) -> tuple[Path, ...]:
    """Delete the runs that nobody has touched for longest, with their archives.

    Args:
        runs: Folder of all runs; whatever in it is no run is left alone.
        keep: How many of the runs that are not spared stay.
        spared: Runs that stay in any case.

    Returns:
        What was deleted, oldest first.
    """
    kept = {path.resolve() for path in spared}
    found = [path for path in _runs_in(runs) if path.resolve() not in kept]
    found.sort(key=lambda path: path.stat().st_mtime)
    doomed = tuple(found[: max(0, len(found) - keep)])
    for path in doomed:
        # The report goes first: a half-deleted run resumes as one that never finished.
        (path / REPORT_NAME).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
        for archive in runs.glob(f"*/{path.name}.zip"):
            archive.unlink(missing_ok=True)
    return doomed


def _runs_in(runs: Path) -> list[Path]:
    if not runs.is_dir():
        return []
    return [
        path
        for path in runs.iterdir()
        if _RUN_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
