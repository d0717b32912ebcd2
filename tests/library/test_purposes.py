"""Sets of states with disjoint purposes, and a calibration that serves another study."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptq.adms.audioldm import AudioLDM
from ptq.adms.registry import lexicon_of
from ptq.adms.sampling import SamplingSettings
from ptq.calibration.folder import CalibrationFolder
from ptq.calibration.purposes import HeldOut, Purpose, rest_of, shares, spread
from ptq.calibration.states import StatePool, StateRecorder, all_states
from ptq.config import QuantConfig, parse_rules
from ptq.errors import CalibrationError, CheckpointError
from ptq.presets import preset
from ptq.prompts.suites import Suite, draw_suite
from ptq.stages import CALIBRATION
from ptq.study import run_folder_of, run_study
from ptq.study_config import StudyConfig
from tests.calibrations import drawn

NO_EAR = "this test has no ear"
SETTINGS = SamplingSettings(steps=4, guidance=2.5, seconds=0.64)
CONFIG = StudyConfig(
    adm="tiny",
    quant=preset("w8a8"),
    prompts=("a dog barks", "rain falls"),
    steps=3,
    seconds=0.64,
    batch_size=2,
    calibration=drawn(prompts=2, states=3, reconstruction=2),
)


@pytest.fixture(scope="module")
def pool(tiny_adm: AudioLDM) -> StatePool:
    prompts = ("a dog barks", "rain falls", "a bell rings")
    return StateRecorder(adm=tiny_adm, settings=SETTINGS, seed=1).record(prompts)


@pytest.fixture(scope="module")
def made(tiny_adm: AudioLDM, tmp_path_factory: pytest.TempPathFactory) -> CalibrationFolder:
    runs = tmp_path_factory.mktemp("runs")
    run_study(CONFIG, tiny_adm, runs=runs, ear=NO_EAR)
    return CalibrationFolder(path=run_folder_of(CONFIG, tiny_adm, runs).path / CALIBRATION)


def test_states_are_spread_evenly_over_steps(pool: StatePool) -> None:
    for count in (1, 4, 7, 12, 99):
        chosen = spread(all_states(pool), count, 5)
        assert len({tuple(pair) for pair in chosen.tolist()}) == min(count, 12)
        per_step = np.bincount(chosen[:, 1], minlength=4)
        assert per_step.max() - per_step.min() <= 1
    assert not np.array_equal(spread(all_states(pool), 7, 5), spread(all_states(pool), 7, 6))


def test_no_state_serves_ranges_and_rounding(pool: StatePool) -> None:
    chosen = all_states(pool)[:5]
    rest = rest_of(pool, chosen, 99, 1)
    both = {tuple(pair) for pair in np.concatenate([chosen, rest]).tolist()}
    assert len(both) == len(chosen) + len(rest) == 12
    assert len(rest_of(pool, chosen, 3, 1)) == 3


@pytest.mark.parametrize(
    ("asked", "given"), [((5, 7), (5, 7)), ((40, 40), (6, 6)), ((90, 10), (11, 1))]
)
def test_scarce_states_are_shared(
    pool: StatePool, asked: tuple[int, int], given: tuple[int, int]
) -> None:
    assert shares(pool, *asked) == given


def test_a_single_state_serves_both(tiny_adm: AudioLDM) -> None:
    one = replace(SETTINGS, steps=1)
    pool = StateRecorder(adm=tiny_adm, settings=one, seed=1).record(("rain falls",))
    assert shares(pool, 40, 40)[0] == 1
    assert rest_of(pool, all_states(pool), 1, 1).tolist() == [[0, 0]]


def test_what_judges_shares_no_prompt_with_what_is_fitted(tiny_adm: AudioLDM) -> None:
    known = ("a dog barks", "rain falls")
    held_out = HeldOut(adm=tiny_adm, sampling=replace(SETTINGS, steps=2), apart_from=known)
    sensitivity, validation = held_out(Purpose.SENSITIVITY, 6), held_out(Purpose.VALIDATION, 10)
    assert (len(sensitivity.prompts), len(validation.prompts)) == (40, 16)
    assert (len(sensitivity), len(validation)) == (6, 10)
    texts = [*known, *sensitivity.prompts, *validation.prompts]
    assert len(set(texts)) == len(texts)
    scenes = {p.text: p for p in draw_suite(Suite.EXPLORATION, 200, 8_000_000, lexicon_of("tiny"))}
    drawn = [scenes[text] for text in texts[len(known) :]]
    heard = {prompt.scene.content_hash() for prompt in drawn if prompt.scene is not None}
    assert len(heard) == len(drawn), "nor a scene in other words"
    again = replace(held_out, apart_from=[text.upper() for text in sensitivity.prompts])(
        Purpose.SENSITIVITY, 6
    )
    assert not set(again.prompts) & set(sensitivity.prompts)


def test_a_calibration_is_read_back(made: CalibrationFolder) -> None:
    manifest = made.manifest()
    assert (manifest.states, manifest.reconstruction) == (3, 2)
    for purpose, count in ((Purpose.STATISTICS, 3), (Purpose.RECONSTRUCTION, 2)):
        states = made.states(purpose)
        assert len(states) == count
        assert states.settings == SamplingSettings(steps=3, guidance=2.5, seconds=0.64)
    assert made.stats()
    with pytest.raises(CheckpointError, match=r"There is no .*validation-states"):
        made.states(Purpose.VALIDATION)


def test_a_calibration_serves_another_study_and_the_report_warns(
    made: CalibrationFolder, tiny_adm: AudioLDM, tmp_path: Path
) -> None:
    config = replace(CONFIG, steps=4, guidance=1.0, calibration=made.settings())
    report = run_study(config, tiny_adm, runs=tmp_path, ear=NO_EAR)
    assert report.calibration is not None
    assert report.calibration.manifest == made.manifest().sha256
    warnings = [note for note in report.notes if note.startswith("Calibrated with")]
    assert [note.split(":")[0] for note in warnings] == [
        "Calibrated with steps 3, sampled with 4",
        "Calibrated with guidance 2.5, sampled with 1.0",
    ]
    copied = CalibrationFolder(path=run_folder_of(config, tiny_adm, tmp_path).path / CALIBRATION)
    assert copied.stats_path.read_bytes() == made.stats_path.read_bytes()


def test_a_calibration_with_the_same_settings_warns_of_nothing(
    made: CalibrationFolder, tiny_adm: AudioLDM, tmp_path: Path
) -> None:
    config = replace(CONFIG, calibration=made.settings())
    report = run_study(config, tiny_adm, runs=tmp_path, ear=NO_EAR)
    assert not [note for note in report.notes if "alibrat" in note]


def test_a_calibration_that_does_not_fit_is_refused(
    made: CalibrationFolder, tiny_adm: AudioLDM, tmp_path: Path
) -> None:
    config = replace(CONFIG, calibration=made.settings())
    seven = QuantConfig(name="seven", rules=parse_rules("denoiser.* = a8 t7"))
    with pytest.raises(CalibrationError, match="lacks ranges that the plan 'seven' needs"):
        run_study(replace(config, quant=seven), tiny_adm, runs=tmp_path, ear=NO_EAR)
    even = QuantConfig(name="even", rules=parse_rules("denoiser.*attn* = w8 smooth a8\n* = w8a8"))
    with pytest.raises(CalibrationError, match="evens out other channels than the plan 'even'"):
        run_study(replace(config, quant=even), tiny_adm, runs=tmp_path, ear=NO_EAR)
    other = replace(made.settings(), reused_manifest="another")
    with pytest.raises(CalibrationError, match="has changed since it was named"):
        run_study(replace(config, calibration=other), tiny_adm, runs=tmp_path, ear=NO_EAR)
    foreign = tmp_path / "foreign"
    CalibrationFolder(path=foreign).copy_from(made)
    manifest = json.loads((foreign / "manifest.json").read_text())
    (foreign / "manifest.json").write_text(json.dumps({**manifest, "model_hash": "b" * 64}))
    settings = CalibrationFolder(path=foreign).settings()
    with pytest.raises(CalibrationError, match="calibrate this model"):
        run_study(replace(config, calibration=settings), tiny_adm, runs=tmp_path, ear=NO_EAR)
    with pytest.raises(
        CheckpointError, match=r"There is no .*nowhere/manifest\.json; name a folder"
    ):
        CalibrationFolder(path=tmp_path / "nowhere").settings()
