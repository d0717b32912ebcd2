"""The workbench with a real ADM and real studies, without a browser."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from app.adm_shelf import AdmShelf
from app.archive import write_archive
from app.handlers.api import ApiHandlers
from app.job import JobState
from app.jobs import UnknownJobError, new_token
from app.settings import Settings
from app.study_request import (
    DEFAULT_CALIBRATION_PROMPTS,
    DEFAULT_COVERING,
    DEFAULT_STRATEGY,
    StudyRequest,
)
from app.workbench import EXAMPLE_ID, Workbench
from ptq.config import format_rules
from ptq.errors import ConfigError, PTQError
from ptq.presets import preset
from ptq.scheme import Rounding
from ptq.stages import FULL, clip_path
from tests.tiny_adm import write_tiny_audioldm

LONG_S = 60.0
REQUEST = StudyRequest(
    adm="tiny",
    prompts="a dog barks\nrain falls",
    rules="denoiser.* = w4a8\n* = keep\n",
    preset="w4a8",
    seed=0,
    steps=2,
    guidance=2.5,
    seconds=0.64,
    calibration_prompts=2,
    strategy="uniform",
    covering=False,
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("workbench")
    write_tiny_audioldm(folder / "tiny")
    return Settings(
        runs=folder / "runs",
        local_adms={"tiny": folder / "tiny"},
        max_steps=20,
        max_prompts=3,
    )


@pytest.fixture(scope="module")
def workbench(settings: Settings) -> Iterator[Workbench]:
    bench = Workbench(settings, ear=lambda: "no embedder here")
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def finished(workbench: Workbench) -> tuple[str, str]:
    """A visitor and the visitor's finished run."""
    token = new_token()
    job_id = workbench.start(token, REQUEST)
    job = workbench.wait(token, job_id, timeout_s=LONG_S)
    assert job.state is JobState.DONE, job.error
    return token, job_id


def test_a_study_ends_with_pairs_and_a_report(
    workbench: Workbench, finished: tuple[str, str]
) -> None:
    run = workbench.run(*finished)
    assert [pair.prompt for pair in run.report.pairs] == ["a dog barks", "rain falls"]
    full, quantized = run.clips(1)
    assert len(full.samples) == len(quantized.samples) == int(0.64 * full.sample_rate_hz)
    assert len(workbench.ticket(*finished).clips_so_far()) == 2


def test_a_visitor_finds_the_own_runs_only(workbench: Workbench, finished: tuple[str, str]) -> None:
    token, job_id = finished
    assert [run.id for run in workbench.runs(token)] == [job_id]
    assert workbench.runs(new_token()) == ()
    with pytest.raises(UnknownJobError):
        workbench.run(new_token(), job_id)


def test_nothing_in_a_run_folder_knows_the_visitor(
    workbench: Workbench, finished: tuple[str, str]
) -> None:
    token, job_id = finished
    for path in workbench.ticket(token, job_id).run.rglob("*"):
        assert token not in path.name
        assert path.is_dir() or token.encode() not in path.read_bytes()


def test_the_archive_holds_clips_and_report_but_no_latents(
    workbench: Workbench, finished: tuple[str, str], tmp_path: Path
) -> None:
    run = workbench.run(*finished)
    text = write_archive(run.path, tmp_path / "run.zip").read_bytes()
    assert b"run/report.json" in text
    assert b"run/quantized/000.flac" in text
    assert b".npy" not in text


def test_an_estimate_follows_the_last_run(workbench: Workbench, finished: tuple[str, str]) -> None:
    assert workbench.runs(finished[0])
    same = workbench.estimate(REQUEST)
    longer = workbench.estimate(replace(REQUEST, steps=8))
    assert same.is_finished
    assert same.forecast is not None
    assert longer.forecast is not None
    assert not longer.is_finished
    assert longer.forecast.is_from_here
    assert longer.forecast.seconds > same.forecast.seconds
    assert same.ahead == 0


def test_an_estimate_says_which_rounding_was_never_timed(
    workbench: Workbench, finished: tuple[str, str]
) -> None:
    assert workbench.runs(finished[0])
    nearest, learnt = (
        workbench.estimate(replace(REQUEST, rules=f"denoiser.* = w4{words} a8\n* = keep\n"))
        for words in ("", " brecq")
    )
    assert nearest.forecast is not None
    assert learnt.forecast is not None
    assert (nearest.forecast.leaves_out, learnt.forecast.leaves_out) == (None, Rounding.BRECQ)


def test_old_runs_make_room_even_where_their_visitor_is_still_there(
    settings: Settings, tmp_path: Path
) -> None:
    limits = replace(settings, runs=tmp_path, keep_runs=1)
    bench, token = Workbench(limits, ear=lambda: "no embedder here"), new_token()
    request = replace(REQUEST, prompts="a dog barks", steps=1)
    try:
        ids = []
        for seed in range(3):
            ids.append(bench.start(token, replace(request, seed=seed)))
            job = bench.wait(token, ids[-1], timeout_s=LONG_S)
            assert job.state is JobState.DONE, job.error
        assert [run.id for run in bench.runs(token)] == [ids[2], ids[1]]
        assert not bench.ticket(token, ids[0]).run.exists()
    finally:
        bench.close()


def test_the_default_run_of_the_embedded_model_has_nothing_to_calibrate(
    workbench: Workbench,
) -> None:
    default = replace(
        REQUEST,
        adm="mini-audioldm",
        rules=format_rules(preset("ptq4adm").rules),
        preset="ptq4adm",
        steps=20,
        seconds=5.12,
        calibration_prompts=DEFAULT_CALIBRATION_PROMPTS,
        strategy=DEFAULT_STRATEGY,
        covering=DEFAULT_COVERING,
    )
    usual = workbench.estimate(default)
    assert usual.ships_calibration
    assert usual.forecast is not None  # it ships, for a host where nothing has run yet
    assert not usual.forecast.is_from_here
    assert not workbench.estimate(default).calibrates
    other = workbench.estimate(replace(default, steps=10))
    assert not other.ships_calibration
    assert other.calibrates
    assert not workbench.estimate(replace(default, covering=False)).ships_calibration
    even = "denoiser.conv_in = keep\ndenoiser.* = w8 smooth a8 mse\n* = keep\n"
    assert not workbench.estimate(replace(default, rules=even)).ships_calibration


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 21}, "steps is 21; choose 1 to 20"),
        ({"steps": 2.5}, "whole number"),
        ({"seconds": 11.0}, "length in seconds"),
        ({"seed": -1}, "seed is -1"),
        ({"prompts": "\n \n"}, "no prompt yet"),
        ({"prompts": "a\nb\nc\nd"}, "1 to 3, one a line"),
        ({"prompts": "x" * 201}, "at most 200"),
        ({"calibration_prompts": 1000}, "calibration prompts"),
        ({"rules": "denoiser.* = w4a8\nnonsense"}, "line 2"),
        ({"rules": "denoiser.* = w4a8\nnowhere.* = w8"}, "Line 2 of the rules"),
        ({"adm": "another"}, "no ADM 'another'"),
        ({"rules": "denoiser.* = w8\n" + "ab.cd." * 60 + "= w4"}, r"Line 2 .* has 364 characters"),
    ],
)
def test_a_request_beyond_the_limits_is_refused(
    workbench: Workbench, change: dict[str, object], message: str
) -> None:
    with pytest.raises(PTQError, match=message):
        workbench.start(new_token(), replace(REQUEST, **change))  # type: ignore[arg-type]


def test_a_stopped_study_goes_on_where_it_was(workbench: Workbench) -> None:
    token, request = new_token(), replace(REQUEST, steps=20, seed=7)
    job_id = workbench.start(token, request)
    with pytest.raises(ConfigError, match="still on its way"):
        workbench.start(token, REQUEST)
    first = workbench.ticket(token, job_id).run / clip_path(FULL, 0)
    while not first.exists():
        assert not workbench.wait(token, job_id, timeout_s=0.01).state.has_ended
    workbench.stop(token)
    job = workbench.wait(token, job_id, timeout_s=LONG_S)
    assert job.state is JobState.CANCELLED
    made = first.stat().st_mtime_ns
    again = workbench.start(token, request)
    assert workbench.wait(token, again, timeout_s=LONG_S).state is JobState.DONE
    assert first.stat().st_mtime_ns == made


def test_a_run_that_was_deleted_meanwhile_is_not_listed(
    workbench: Workbench, finished: tuple[str, str], tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    shutil.copytree(workbench.run(*finished).path, gone)
    bench = Workbench(replace(workbench.settings, featured_run=gone), ear=lambda: "none here")
    try:
        assert [run.id for run in bench.runs(new_token())] == [EXAMPLE_ID]
        (gone / "report.json").unlink()
        assert bench.runs(new_token()) == ()
    finally:
        bench.close()


def test_a_program_that_gives_up_leaves_no_job_behind(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    start = workbench.start

    def noted(token: str, request: StudyRequest) -> str:
        asked.append(token)
        return start(token, request)

    monkeypatch.setattr("app.handlers.api._LONGEST_S", 0.0)
    monkeypatch.setattr(workbench, "start", noted)
    with pytest.raises(gr.Error, match="ask again to go on"):
        ApiHandlers(workbench).study("tiny", ["a dog barks"], "w8a8", steps=20, seed=9)
    [job] = workbench.jobs(asked[0])
    job = workbench.wait(asked[0], job.id, timeout_s=LONG_S)
    assert job.state is JobState.CANCELLED
    with pytest.raises(gr.Error, match="give a list of texts"):
        ApiHandlers(workbench).study("tiny", json.loads('"a dog barks"'))
    with pytest.raises(gr.Error, match="rules is 5; give a text"):
        ApiHandlers(workbench).study("tiny", ["a dog barks"], rules=json.loads("5"))
    with pytest.raises(gr.Error, match=r"preset is .*w8a8.*; give a text"):
        ApiHandlers(workbench).list_layers("tiny", json.loads('["w8a8"]'))


def test_an_example_that_is_no_run_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no report\.json"):
        Settings.from_environment({"PTQ4ADM_FEATURED_RUN": str(tmp_path)})


def test_the_example_is_shown_to_everyone(
    workbench: Workbench, settings: Settings, finished: tuple[str, str], tmp_path: Path
) -> None:
    featured = workbench.ticket(*finished).run
    other = Workbench(replace(settings, featured_run=featured), ear=lambda: "none")
    try:
        [run] = other.runs(new_token())
        assert (run.id, run.is_example) == (EXAMPLE_ID, True)
        elsewhere = Workbench(
            replace(settings, featured_run=featured, runs=tmp_path), ear=lambda: "none"
        )
        assert elsewhere.estimate(REQUEST).forecast is None, "the example may come from elsewhere"
        elsewhere.close()
    finally:
        other.close()


def test_a_model_that_a_job_still_holds_is_not_loaded_again(settings: Settings) -> None:
    folder = settings.local_adms["tiny"]
    shelf = AdmShelf({"tiny": folder, "other": folder})
    held = shelf.load("tiny")
    assert shelf.load("other") is not held
    assert shelf.load("tiny") is held
