"""Keeps the disk of a hosted page from filling up with the runs of its visitors."""

import re
import shutil
from collections.abc import Collection
from itertools import accumulate
from pathlib import Path

from ptq.run_folder import REPORT_NAME

# What a study's folder is called: the first 16 digits of its identity.
_RUN_NAME = re.compile(r"[0-9a-f]{16}")


def prune_runs(
    runs: Path,
    *,
    keep: int | None = None,
    keep_gb: int | None = None,
    spared: Collection[Path] = (),
) -> tuple[Path, ...]:
    """Delete the runs that nobody has touched for longest, with their archives.

    Args:
        runs: Folder of all runs; whatever in it is no run is left alone.
        keep: How many of the runs that are not spared stay; ``None`` for all.
        keep_gb: Gigabytes that those runs may take; ``None`` for no limit.
        spared: Runs that stay in any case.

    Returns:
        What was deleted, oldest first.
    """
    kept = {path.resolve() for path in spared}
    found = [path for path in _runs_in(runs) if path.resolve() not in kept]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    stays = len(found) if keep is None else keep
    if keep_gb is not None:
        totals = accumulate(_bytes_in(path) for path in found)
        stays = min(stays, sum(total <= keep_gb * 10**9 for total in totals))
    doomed = tuple(reversed(found[stays:]))
    for path in doomed:
        # The report goes first: a half-deleted run resumes as one that never finished.
        (path / REPORT_NAME).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
        for archive in runs.glob(f"*/{path.name}.zip"):
            archive.unlink(missing_ok=True)
    return doomed


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _runs_in(runs: Path) -> list[Path]:
    if not runs.is_dir():
        return []
    return [
        path
        for path in runs.iterdir()
        if _RUN_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
