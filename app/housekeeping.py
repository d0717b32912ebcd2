"""Keeps the disk of a hosted page from filling up with the runs of its visitors."""

import re
import shutil
from collections.abc import Collection, Iterator
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
    cherished: Collection[Path] = (),
) -> tuple[Path, ...]:
    """Delete the runs that nobody has touched for longest, with their archives.

    Args:
        runs: Folder of all runs; whatever in it is no run is left alone.
        keep: How many runs stay, the spared ones among them; ``None`` for all.
        keep_gb: Gigabytes that those runs may take with their archives; ``None`` for no limit.
        spared: Runs that stay in any case.
        cherished: Runs that go only when no others are left.

    Returns:
        What was deleted, in that order.
    """
    kept, last = ({path.resolve() for path in paths} for paths in (spared, cherished))
    every = _runs_in(runs)
    safe = [path for path in every if path.resolve() in kept]
    found = [path for path in every if path.resolve() not in kept]
    found.sort(key=lambda path: (path.resolve() in last, path.stat().st_mtime), reverse=True)
    stays = len(found) if keep is None else max(keep - len(safe), 0)
    if keep_gb is not None:
        taken = sum(_bytes_of(path) for path in safe)
        totals = accumulate(_bytes_of(path) for path in found)
        stays = min(stays, sum(taken + total <= keep_gb * 10**9 for total in totals))
    doomed = tuple(reversed(found[stays:]))
    for path in doomed:
        # The report goes first: a half-deleted run resumes as one that never finished.
        (path / REPORT_NAME).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
        for archive in _archives(path):
            archive.unlink(missing_ok=True)
    return doomed


def _archives(run: Path) -> Iterator[Path]:
    return run.parent.glob(f"*/{run.name}.zip*")  # half-written ones too


def _bytes_of(run: Path) -> int:
    files = (path for path in run.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in (*files, *_archives(run)))


def _runs_in(runs: Path) -> list[Path]:
    if not runs.is_dir():
        return []
    return [
        path
        for path in runs.iterdir()
        if _RUN_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
