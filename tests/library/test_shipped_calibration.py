"""A calibration that ships serves the default run, and no other."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import layers_of
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.adms.sampling import SamplingSettings
from ptq.calibration.folder import CalibrationFolder
from ptq.calibration.shipped import shipped_calibration
from ptq.config import QuantConfig, parse_rules
from ptq.plan import resolve_plan
from ptq.presets import PRESETS, preset
from ptq.report import Report
from ptq.stages import CALIBRATION
from ptq.study import run_folder_of, run_study
from ptq.study_config import CalibrationSettings, StudyConfig
from ptq.study_events import Stage, StudyEvent
from tests.calibrations import drawn

WANTED = drawn(prompts=2, states=3, reconstruction=2)
CONFIG = StudyConfig(
    adm="tiny",
    quant=preset("w8a8"),
    prompts=("a dog barks",),
    steps=3,
    seconds=0.64,
    calibration=WANTED,
)
SAMPLING = SamplingSettings(steps=3, guidance=2.5, seconds=0.64)


@pytest.fixture(scope="module")
def measured(tiny_adm: AudioLDM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a study that had no shipped calibration left its own."""
    runs = tmp_path_factory.mktemp("runs")
    run_study(CONFIG, tiny_adm, runs=runs, ear="this test has no ear")
    return run_folder_of(CONFIG, tiny_adm, runs).path / CALIBRATION


@pytest.fixture
def shipped(
    tiny_adm: AudioLDM, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    folder = tmp_path / "shipped"
    shutil.copytree(measured, folder / tiny_adm.id)
    monkeypatch.setattr("ptq.calibration.shipped.SHIPPED_FOLDER", folder)
    return folder / tiny_adm.id


def study(config: StudyConfig, adm: AudioLDM, runs: Path) -> tuple[Report, int]:
    """A study's report, and how often its calibration told of progress."""
    events: list[StudyEvent] = []
    report = run_study(config, adm, runs=runs, ear="this test has no ear", on_event=events.append)
    told = [event for event in events if event.stage is Stage.CALIBRATE and event.done > 0]
    shares = [event.done / event.total for event in told]
    assert shares == sorted(shares), "it never goes back"
    assert not shares or shares[-1] == 1.0
    return report, len(told)


@pytest.mark.usefixtures("shipped")
def test_a_study_made_as_asked_takes_it_over(
    tiny_adm: AudioLDM, measured: Path, tmp_path: Path
) -> None:
    report, steps = study(CONFIG, tiny_adm, tmp_path)
    assert steps == 0
    assert report.calibration is not None
    assert report.calibration.taken_over
    taken = CalibrationFolder(path=run_folder_of(CONFIG, tiny_adm, tmp_path).path / CALIBRATION)
    assert taken.stats_path.read_bytes() == CalibrationFolder(path=measured).stats_path.read_bytes()


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    "other",
    [
        replace(CONFIG, guidance=3.0),
        replace(CONFIG, calibration=replace(WANTED, seed=2)),
        replace(CONFIG, calibration=replace(WANTED, reconstruction=1)),
        replace(
            CONFIG,
            quant=QuantConfig(
                name="even",
                rules=parse_rules("denoiser.conv_in = keep\ndenoiser.* = w8 smooth a8 mse"),
            ),
        ),
        replace(
            CONFIG,
            quant=QuantConfig(
                name="means", rules=parse_rules("vae.decoder.* = w8 debias\n* = keep")
            ),
        ),
    ],
    ids=["guidance", "seed", "size", "balanced", "means of another part"],
)
def test_a_study_of_another_kind_measures_its_own(
    tiny_adm: AudioLDM, tmp_path: Path, other: StudyConfig
) -> None:
    report, steps = study(other, tiny_adm, tmp_path)
    assert steps > 0
    assert report.calibration is not None
    assert not report.calibration.taken_over


def test_other_weights_have_none(
    tiny_adm: AudioLDM, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = resolve_plan(CONFIG.quant, layers_of(tiny_adm))
    assert shipped_calibration(tiny_adm, SAMPLING, WANTED, plan) == CalibrationFolder(path=shipped)
    monkeypatch.setattr(tiny_adm, "source_hash", "0" * 64)
    assert shipped_calibration(tiny_adm, SAMPLING, WANTED, plan) is None


def test_what_ships_is_of_the_shipped_weights_and_serves_every_preset() -> None:
    adm = load_adm(find_adm("mini-audioldm"))
    default = SamplingSettings(
        steps=adm.spec.default_steps,
        guidance=adm.spec.default_guidance,
        seconds=adm.spec.default_seconds,
    )
    layers = layers_of(adm)
    for config in PRESETS.values():
        plan = resolve_plan(config, layers)
        assert shipped_calibration(adm, default, CalibrationSettings(), plan) is not None
