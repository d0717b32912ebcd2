"""Old runs make room for new ones; nothing else in the folder is touched."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from app.archive import write_archive
from app.housekeeping import prune_runs
from app.settings import Settings
from ptq.errors import CheckpointError


def _write_runs(runs: Path, count: int) -> list[Path]:
    """Runs in order of age, oldest first, each with its archive."""
    found = []
    for i in range(count):
        run = runs / f"{i:016x}"
        run.mkdir(parents=True)
        (run / "report.json").write_text("{}")
        archive = runs / "downloads" / f"{run.name}.zip"
        archive.parent.mkdir(exist_ok=True)
        archive.write_text("zip")
        os.utime(run, (1000 + i, 1000 + i))
        found.append(run)
    return found


def test_the_oldest_runs_go_with_their_archives(tmp_path: Path) -> None:
    runs = _write_runs(tmp_path, 5)
    assert prune_runs(tmp_path, keep=2) == tuple(runs[:3])
    assert [run.exists() for run in runs] == [False, False, False, True, True]
    archives = sorted(path.stem for path in (tmp_path / "downloads").iterdir())
    assert archives == [run.name for run in runs[3:]]
    assert prune_runs(tmp_path, keep=2) == ()


def test_what_is_spared_or_no_run_stays(tmp_path: Path) -> None:
    runs = _write_runs(tmp_path, 3)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "latest").symlink_to(runs[0], target_is_directory=True)
    assert prune_runs(tmp_path, keep=0, spared=[runs[0]]) == (runs[1], runs[2])
    assert runs[0].exists()
    assert (tmp_path / "benchmarks").exists()
    assert (tmp_path / "latest").exists()


def test_what_is_spared_counts_among_what_stays(tmp_path: Path) -> None:
    runs = _write_runs(tmp_path, 4)
    assert prune_runs(tmp_path, keep=2, spared=[runs[0]]) == (runs[1], runs[2])
    with (runs[0] / "latents.npy").open("wb") as file:
        file.truncate(1_000_000_000)
    assert prune_runs(tmp_path, keep_gb=1, spared=[runs[0]]) == (runs[3],)
    assert runs[0].exists()


def test_what_is_cherished_goes_last(tmp_path: Path) -> None:
    runs = _write_runs(tmp_path, 4)
    assert prune_runs(tmp_path, keep=2, cherished=runs[:2]) == (runs[2], runs[3])
    assert prune_runs(tmp_path, keep=1, cherished=runs[:2]) == (runs[0],)


def test_the_newest_runs_stay_as_far_as_there_is_room(tmp_path: Path) -> None:
    runs = _write_runs(tmp_path, 4)
    for run in runs:
        with (run / "latents.npy").open("wb") as file:
            file.truncate(400_000_000)  # takes no room on the disk of the test
        os.utime(run, (2000 + runs.index(run),) * 2)
    assert prune_runs(tmp_path, keep_gb=1) == tuple(runs[:2])
    assert prune_runs(tmp_path, keep=5, keep_gb=1) == ()
    assert prune_runs(tmp_path) == ()


def test_a_folder_that_is_not_there_yet_has_nothing_to_delete(tmp_path: Path) -> None:
    assert prune_runs(tmp_path / "runs", keep=0) == ()


@pytest.mark.parametrize(
    ("environ", "keep"),
    [
        ({}, (None, None)),
        ({"SPACE_ID": "me/space"}, (200, 10)),
        ({"PTQ4ADM_KEEP_RUNS": "7"}, (7, None)),
        ({"PTQ4ADM_KEEP_RUNS": "", "PTQ4ADM_KEEP_GB": " "}, (None, None)),
        ({"PTQ4ADM_KEEP_GB": "3", "SPACE_ID": "me/space"}, (200, 3)),
    ],
)
def test_only_a_space_forgets_unless_it_is_asked_to(
    environ: dict[str, str], keep: tuple[int | None, int | None]
) -> None:
    settings = Settings.from_environment(environ)
    assert (settings.keep_runs, settings.keep_gb) == keep


def test_a_run_that_goes_while_it_is_packed_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("a.flac", "b.flac", "report.json"):
        (run / name).write_text(name)
    write = zipfile.ZipFile.write

    def write_and_delete(archive: zipfile.ZipFile, path: Path, name: str) -> None:
        write(archive, path, name)
        shutil.rmtree(run, ignore_errors=True)

    monkeypatch.setattr(zipfile.ZipFile, "write", write_and_delete)
    with pytest.raises(CheckpointError, match="run the study again"):
        write_archive(run, tmp_path / "run.zip")
    assert not list(tmp_path.iterdir())


def test_half_packed_archives_go_with_their_run(tmp_path: Path) -> None:
    [run] = _write_runs(tmp_path, 1)
    half = tmp_path / "downloads" / f"{run.name}.zip.0123abcd.partial"
    half.write_text("half")
    assert prune_runs(tmp_path, keep=0) == (run,)
    assert not half.exists()
