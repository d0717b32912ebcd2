"""A study end to end on a tiny checkpoint: what it writes, loads again, keeps and reports."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from ptq.adms.audioldm import AudioLDM
from ptq.audio import read_clip
from ptq.errors import Cancelled, CheckpointError
from ptq.presets import preset
from ptq.report import Report
from ptq.study import run_folder_of, run_study
from ptq.study_config import CalibrationSettings
from ptq.study_events import Stage, StudyEvent
from tests.studies import CONFIG, NO_EAR, untimed

SCHEMA = {
    "": "schema adm plan settings environment timings_s notes size calibration layers paired pairs",
    "adm": "id family source",
    "plan": "name hash weight_bits_mean",
    "size.denoiser": "fp32_bytes fp16_bytes quantized_bytes bits_per_weight",
    "size.pipeline": "fp32_bytes fp16_bytes quantized_bytes reduction_pct",
    "calibration": "strategy prompts states manifest",
    "layers.0": "name kind w_bits a_bits bytes sqnr_db executed",
    "paired": "latent_sqnr_db log_mel_l1_db lsd_db",
    "pairs.0": "prompt seed reference quantized",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def events() -> list[StudyEvent]:
    return []


@pytest.fixture(scope="module")
def report(tiny_adm: AudioLDM, runs: Path, events: list[StudyEvent]) -> Report:
    """The study, run once without a break."""
    return run_study(CONFIG, tiny_adm, runs=runs, ear=NO_EAR, on_event=events.append)


def test_a_report_has_the_public_keys(report: Report) -> None:
    data = json.loads(report.to_json())
    for path, keys in SCHEMA.items():
        found = data
        for step in filter(None, path.split(".")):
            found = found[int(step)] if step.isdigit() else found[step]
        assert set(keys.split()) <= found.keys(), path
    assert data["schema"] == 1
    assert len(data["pairs"]) == len(CONFIG.prompts)
    assert None not in data.values()


def test_a_report_is_read_back(report: Report) -> None:
    assert Report.from_json(report.to_json()).to_json() == report.to_json()
    extended = {**json.loads(report.to_json()), "key_of_a_later_version": 1}
    assert Report.from_json(json.dumps(extended)).to_json() == report.to_json()
    with pytest.raises(CheckpointError, match=r"^The report has schema 2, this version reads 1"):
        Report.from_json(json.dumps({**extended, "schema": 2}))
    for text in ("{", "[]", "{}", json.dumps({**extended, "pairs": [{}]})):
        with pytest.raises(CheckpointError, match=r"damaged .*; run the study again"):
            Report.from_json(text)


def test_what_is_absent_has_its_reason(report: Report) -> None:
    assert report.fd is None
    assert f"fd, text score and embedding metrics are absent: {NO_EAR}" in report.notes
    assert report.paired.embedding_cosine is None
    assert report.paired.latent_sqnr_db is not None


def test_sizes_are_those_of_the_packed_file(report: Report, tiny_adm: AudioLDM, runs: Path) -> None:
    packed = run_folder_of(CONFIG, tiny_adm, runs).path / "packed"
    on_disk = sum(path.stat().st_size for path in packed.rglob("*") if path.is_file())
    size = report.size.pipeline
    assert size.quantized_bytes == on_disk < size.fp32_bytes == 2 * size.fp16_bytes
    assert size.reduction_pct == pytest.approx(100 * (1 - on_disk / size.fp32_bytes))


def test_the_bytes_of_a_layer_are_those_on_disk(report: Report, tiny_adm: AudioLDM) -> None:
    found = {layer.name: layer for layer in report.layers}
    total = sum(layer.bytes for layer in report.layers)
    # Norms and position tables belong to no layer.
    assert 0.5 < total / report.size.pipeline.quantized_bytes < 1.0
    conv = found["denoiser.conv_in"]
    module = tiny_adm.unet.conv_in
    weights, rows = module.weight.numel(), len(module.weight)
    # 8-bit codes and float16 scales by channel, a float32 bias and one static input range.
    assert conv.bytes == weights + 2 * rows + 4 * rows + 2 * 4


def test_events_come_in_order_and_name_files_that_exist(
    report: Report, events: list[StudyEvent]
) -> None:
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages[0] is Stage.PLAN
    assert stages[-1] is Stage.REPORT
    assert set(stages) == set(Stage)
    assert all(0 <= event.done <= event.total for event in events)
    first = {event.stage: event for event in reversed(events)}
    timed = set(Stage) - {Stage.PLAN, Stage.REPORT}
    assert all(first[stage].done == 0 for stage in timed), "told as it begins"
    assert all(event.artefact.exists() for event in events if event.artefact is not None)
    last = {event.stage: event for event in events}
    assert all(event.done == event.total for event in last.values())
    assert set(report.timings_s) <= {stage.value for stage in Stage}


def test_a_finished_study_is_loaded(report: Report, tiny_adm: AudioLDM, runs: Path) -> None:
    folder = run_folder_of(CONFIG, tiny_adm, runs).path
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    seen: list[StudyEvent] = []
    again = run_study(CONFIG, tiny_adm, runs=runs, ear=NO_EAR, on_event=seen.append)
    assert again.to_json() == report.to_json()
    assert [event.stage for event in seen] == [Stage.REPORT]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert not list(folder.rglob("*.partial"))


def test_another_seed_or_model_is_another_run(tiny_adm: AudioLDM) -> None:
    identity = CONFIG.identity(tiny_adm.source_hash)
    changed: dict[str, Any] = {
        **{"adm": "another", "quant": preset("w4a8"), "prompts": ("rain falls",), "seed": 1},
        **{"steps": 7, "guidance": 1.5, "seconds": 1.28, "batch_size": 3, "corrected": True},
        "calibration": CalibrationSettings(seed=9),
    }
    assert set(changed) == {field.name for field in fields(CONFIG)}
    for name, value in changed.items():
        assert identity != replace(CONFIG, **{name: value}).identity(tiny_adm.source_hash), name
    assert identity != CONFIG.identity("another model")


def test_a_stopped_study_keeps_what_is_finished(
    report: Report, tiny_adm: AudioLDM, tmp_path: Path
) -> None:
    finished: list[Path] = []
    calls_after: list[int] = []

    def on_event(event: StudyEvent) -> None:
        if event.stage is Stage.ESTIMATE and event.artefact is not None:
            finished.append(event.artefact)

    handle = tiny_adm.unet.register_forward_pre_hook(
        lambda _module, _args: calls_after.append(1) if finished else None
    )
    with pytest.raises(Cancelled, match="Stopped before"):
        run_study(
            CONFIG,
            tiny_adm,
            runs=tmp_path,
            ear=NO_EAR,
            on_event=on_event,
            should_stop=lambda: len(finished) >= 2,
        )
    handle.remove()
    assert not calls_after
    assert [read_clip(path).seconds for path in finished] == [CONFIG.seconds] * 2
    again = run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    assert untimed(again) == untimed(report)


def test_stopping_at_once_leaves_nothing_computed(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR, should_stop=lambda: True)
    assert not list(tmp_path.rglob("*.flac"))


def test_full_precision_gives_identical_clips(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    config = replace(CONFIG, quant=preset("fp"), prompts=CONFIG.prompts[:1])
    report = run_study(config, tiny_adm, runs=tmp_path, ear=NO_EAR)
    folder = run_folder_of(config, tiny_adm, tmp_path).path
    (pair,) = report.pairs
    assert (folder / pair.reference).read_bytes() == (folder / pair.quantized).read_bytes()
    assert pair.paired.log_mel_l1_db == 0
    assert pair.paired.latent_sqnr_db is None
    assert report.calibration is None
    reasons = {note.split(" is absent: ")[0] for note in report.notes}
    assert {"latent_sqnr_db", "calibration"} <= reasons
    assert {layer.executed for layer in report.layers} == {"float"}
