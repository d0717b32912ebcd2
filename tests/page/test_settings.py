"""Settings: every variable is read, and every mistake is named."""

import os
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from app.settings import Settings
from ptq.errors import CheckpointError, ConfigError, PTQError


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_environment({"HOME": "/", "PTQ4ADM_MAX_STEPS": ""})
    assert settings.runs == Path("runs")
    assert settings.local_adms == {}
    assert (settings.max_steps, settings.max_prompts, settings.max_queued) == (100, 64, 4)
    assert settings.max_seconds == 10.24
    assert settings.threads >= 1


def test_every_variable_is_read(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two=x"
    one.mkdir()
    two.mkdir()
    settings = Settings.from_environment(
        {
            "PTQ4ADM_RUNS": str(tmp_path / "studies"),
            "PTQ4ADM_LOCAL_ADMS": os.pathsep.join([f"audioldm-s={one}", f" tango={two} ", ""]),
            "PTQ4ADM_MAX_STEPS": "25",
            "PTQ4ADM_MAX_PROMPTS": "8",
            "PTQ4ADM_MAX_SECONDS": "5.12",
            "PTQ4ADM_MAX_QUEUED": "0",
            "PTQ4ADM_MAX_MINUTES": "30",
            "PTQ4ADM_THREADS": "3",
        }
    )
    assert settings == Settings(
        runs=tmp_path / "studies",
        local_adms={"audioldm-s": one, "tango": two},
        max_steps=25,
        max_prompts=8,
        max_seconds=5.12,
        max_queued=0,
        max_minutes=30,
        threads=3,
    )


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MAX_STEPS", "0", r"PTQ4ADM_MAX_STEPS is '0'; give a whole number of at least 1"),
        ("MAX_STEPS", "ten", r"'ten'"),
        ("MAX_QUEUED", "-1", r"at least 0"),
        ("MAX_QUEUED", "500", r"at least 0 and at most 30"),
        ("THREADS", "1.5", r"'1\.5'"),
        ("THREADS", "999999999", r"at most 1024"),
        ("MAX_SECONDS", "nan", r"'nan'; give 0.64 to 60 seconds"),
        ("MAX_SECONDS", "-2", r"'-2'"),
        ("MAX_SECONDS", "0.5", r"give 0.64 to 60 seconds"),
        ("MAX_SECONDS", "120", r"give 0.64 to 60 seconds"),
        ("MAX_STEPS", "501", r"no sampler takes more than 500"),
        ("MAX_SECONDS", "long", r"'long'"),
        ("LOCAL_ADMS", "somewhere", r"'somewhere'; write name=folder"),
        ("LOCAL_ADMS", "Big Name=.", r"write name=folder"),
        ("LOCAL_ADMS", "tango=no/such/folder", r"points 'tango' to 'no/such/folder'"),
        ("LOCAL_ADMS", "mini-audioldm=.", r"a model that ships; give the folder another"),
        ("LOCAL_ADMS", "tango=", r"points 'tango' to ''"),
        ("LOCAL_ADMS", os.pathsep.join(["a=.", "a=."]), r"the name 'a' twice"),
        ("MAX_STEP", "5", r"did you mean PTQ4ADM_MAX_STEPS\?"),
    ],
)
def test_a_mistake_is_named_with_the_way_out(name: str, value: str, sentence: str) -> None:
    with pytest.raises(PTQError, match=sentence):
        Settings.from_environment({f"PTQ4ADM_{name}": value})


def test_an_example_that_cannot_be_read_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(CheckpointError):
        Settings.from_environment({"PTQ4ADM_FEATURED_RUN": str(tmp_path)})


def test_runs_must_not_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "runs"
    file.touch()
    with pytest.raises(ConfigError, match="a file; name a folder"):
        Settings.from_environment({"PTQ4ADM_RUNS": str(file)})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().max_steps = 5  # type: ignore[misc]
