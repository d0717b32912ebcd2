"""A study killed at any moment goes on to the same report."""

import multiprocessing
import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ptq.adms.audioldm import AudioLDM
from ptq.metrics.embed.ear import find_ear
from ptq.presets import preset
from ptq.report import Report
from ptq.study import run_study
from ptq.study_config import StudyConfig
from ptq.study_events import Stage, StudyEvent
from tests.studies import CONFIG, NO_EAR, untimed

# One event of every stage, in the order of the stages; the count says how many come before it.
KILLS = [
    (Stage.PLAN, 0),
    (Stage.REFERENCE, 0),
    (Stage.CALIBRATE, 1),
    (Stage.QUANTIZE, 0),
    (Stage.ESTIMATE, 0),
    (Stage.SECOND_SEED, 1),
    (Stage.SCORE, 0),
    (Stage.REPORT, 0),
]


def _killed_at_event(
    folder: Path,
    runs: Path,
    stage: Stage,
    count: int,
    config: StudyConfig = CONFIG,
    *,
    hears: bool = False,
) -> None:
    """Run a study in this process until one event of a stage, and die."""
    torch.set_num_threads(1)
    seen: Counter[Stage] = Counter()

    def die(event: StudyEvent) -> None:
        if event.stage is stage and seen[stage] == count:
            os.kill(os.getpid(), signal.SIGKILL)
        seen[event.stage] += 1

    ear = find_ear() if hears else NO_EAR
    run_study(config, AudioLDM("tiny", folder), runs=runs, ear=ear, on_event=die)


def _killed_at_write(folder: Path, runs: Path, count: int) -> None:
    """Run the study in this process until a partial file is about to get its name, and die."""
    torch.set_num_threads(1)
    left = iter(range(count))

    def die(event: str, _arguments: object) -> None:
        if event == "os.rename" and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    adm = AudioLDM("tiny", folder)
    sys.addaudithook(die)
    run_study(CONFIG, adm, runs=runs, ear=NO_EAR)


def dies(child: multiprocessing.process.BaseProcess) -> None:
    """Start a process that is to kill itself."""
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL, "what it was to die of was not reached"


@pytest.fixture(scope="module")
def report(tiny_adm: AudioLDM, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The study, run once without a break."""
    return run_study(CONFIG, tiny_adm, runs=tmp_path_factory.mktemp("whole"), ear=NO_EAR)


@pytest.fixture(scope="module")
def forks() -> multiprocessing.context.ForkServerContext:
    """Processes that are cheap to start: the server has imported the libraries already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ptq.study", "ptq.adms.audioldm"])
    return context


def test_a_study_killed_in_every_stage_ends_with_the_same_report(
    forks: multiprocessing.context.ForkServerContext,
    report: Report,
    tiny_adm: AudioLDM,
    tiny_folder: Path,
    tmp_path: Path,
) -> None:
    assert {stage for stage, _ in KILLS} == set(Stage)
    for stage, count in KILLS:
        dies(forks.Process(target=_killed_at_event, args=(tiny_folder, tmp_path, stage, count)))
    again = run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    assert untimed(again) == untimed(report)


def test_a_study_that_rounds_by_data_and_is_heard_resumes_too(
    forks: multiprocessing.context.ForkServerContext,
    tiny_adm: AudioLDM,
    tiny_folder: Path,
    tmp_path: Path,
) -> None:
    aware = replace(CONFIG.calibration, strategy="activation-aware")
    config = replace(CONFIG, quant=preset("ptq4adm"), seconds=1.28, calibration=aware)
    whole = run_study(config, tiny_adm, runs=tmp_path / "whole", ear=find_ear())
    assert whole.paired.embedding_cosine is not None  # it was heard
    for stage, count in ((Stage.CALIBRATE, 2), (Stage.QUANTIZE, 1), (Stage.SCORE, 0)):
        asked = {"config": config, "hears": True}
        arguments = (tiny_folder, tmp_path / "killed", stage, count)
        dies(forks.Process(target=_killed_at_event, args=arguments, kwargs=asked))
    again = run_study(config, tiny_adm, runs=tmp_path / "killed", ear=find_ear())
    assert untimed(again) == untimed(whole)


def test_a_study_killed_between_writing_and_naming_a_file_ends_with_the_same_report(
    forks: multiprocessing.context.ForkServerContext,
    report: Report,
    tiny_adm: AudioLDM,
    tiny_folder: Path,
    tmp_path: Path,
) -> None:
    for count in (1, 4, 9):
        dies(forks.Process(target=_killed_at_write, args=(tiny_folder, tmp_path, count)))
        assert not list(tmp_path.rglob("report.json"))
    again = run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    assert untimed(again) == untimed(report)
