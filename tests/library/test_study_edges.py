"""Studies at the edges: rules for every layer, a model that breaks down, a study never begun."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import layers_of
from ptq.audio import AudioClip, read_clip, write_clip
from ptq.calibration.folder import CalibrationFolder
from ptq.config import QuantConfig, parse_rules
from ptq.errors import CheckpointError, RunBusyError
from ptq.metrics.embed.ear import find_ear
from ptq.plan import resolve_plan
from ptq.presets import preset
from ptq.stages import (
    CALIBRATION,
    FULL,
    PACKED,
    PLAN,
    QUANTIZED,
    SECOND,
    clip_path,
    latents_path,
)
from ptq.study import run_folder_of, run_study
from tests.studies import CONFIG, NO_EAR


def test_rules_for_everything_end_with_a_report(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    """Also for the autoencoder's encoder, which never runs, and buckets outside the denoiser."""
    quant = QuantConfig(name="all", rules=parse_rules("* = w8 a8 t3"))
    config = replace(CONFIG, quant=quant, prompts=CONFIG.prompts[:1])
    report = run_study(config, tiny_adm, runs=tmp_path, ear=NO_EAR)
    idle = [row for row in report.layers if row.name.startswith("vae.encoder")]
    assert idle
    assert {(row.w_bits, row.a_bits) for row in idle} == {(8, 16)}


def test_a_model_that_breaks_down_still_gets_its_report(
    tiny_adm: AudioLDM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocode = AudioLDM.vocode

    def broken(self: AudioLDM, mel: Tensor) -> Tensor:
        samples = vocode(self, mel)
        return samples if self is tiny_adm else torch.full_like(samples, torch.nan)

    monkeypatch.setattr(AudioLDM, "vocode", broken)
    config = replace(CONFIG, quant=preset("w4a16"))
    report = run_study(config, tiny_adm, runs=tmp_path, ear=find_ear())
    assert report.fd is None
    assert any("NaN): pair 1, 2, 3." in note for note in report.notes)
    assert any("absent: there is no pair of finite clips" in note for note in report.notes)
    assert all(pair.paired.log_mel_l1_db is None for pair in report.pairs)
    clip = read_clip(run_folder_of(config, tiny_adm, tmp_path).path / clip_path(QUANTIZED, 0))
    assert not clip.samples.any()


def test_latents_that_are_not_finite_are_not_called_identical(
    tiny_adm: AudioLDM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoise = AudioLDM.denoise

    def broken(self: AudioLDM, x: Tensor, t: float, conditioning: Mapping[str, Tensor]) -> Tensor:
        said = denoise(self, x, t, conditioning)
        return said if self is tiny_adm else torch.full_like(said, torch.nan)

    monkeypatch.setattr(AudioLDM, "denoise", broken)
    report = run_study(replace(CONFIG, quant=preset("w4a16")), tiny_adm, runs=tmp_path, ear=NO_EAR)
    absent = [note for note in report.notes if note.startswith("latent_sqnr_db is absent")]
    assert absent == [
        "latent_sqnr_db is absent: no pair has latents that differ and are finite (no NaN)."
    ]


def test_nothing_is_written_before_a_study_runs(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    assert not run_folder_of(CONFIG, tiny_adm, tmp_path / "runs").path.exists()
    assert not (tmp_path / "runs").exists()


def test_another_ear_scores_a_finished_study_again(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    first = run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    clip = run_folder_of(CONFIG, tiny_adm, tmp_path).path / clip_path(QUANTIZED, 0)
    made = clip.stat().st_mtime_ns
    second = run_study(CONFIG, tiny_adm, runs=tmp_path, ear=find_ear())
    assert (first.environment["ear"], first.scores) == ("none", ())
    assert second.environment["ear"].startswith("mini128 ")
    assert clip.stat().st_mtime_ns == made


def test_clips_of_an_outdated_plan_are_made_again(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    run = run_folder_of(CONFIG, tiny_adm, tmp_path)
    config = replace(CONFIG, quant=preset("w3a8"))
    run_study(config, tiny_adm, runs=tmp_path, ear=NO_EAR)
    other = run_folder_of(config, tiny_adm, tmp_path)
    latents = run.path / latents_path(QUANTIZED, 0)
    right = latents.read_bytes()
    # What an older version left: its plan, its packed weights, its clips, and no report.
    shutil.copy(other.path / PLAN, run.path / PLAN)
    for name in (PACKED, QUANTIZED):
        run.forget(name)
        shutil.copytree(other.path / name, run.path / name)
    (run.path / "report.json").unlink()
    assert latents.read_bytes() != right
    run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    assert latents.read_bytes() == right


def test_a_damaged_file_of_a_run_is_named(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    run = run_folder_of(CONFIG, tiny_adm, tmp_path)
    (run.path / "report.json").unlink()
    latents = run.file(latents_path(QUANTIZED, 0))
    right = latents.read_bytes()
    latents.write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"quantized/000\.npy cannot be read.*delete it"):
        run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    latents.unlink()
    run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    assert latents.read_bytes() == right


def test_what_is_damaged_and_can_be_made_again_is_made_again(
    tiny_adm: AudioLDM, tmp_path: Path
) -> None:
    first = run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    run = run_folder_of(CONFIG, tiny_adm, tmp_path)
    run.file("report.json").write_bytes(b"\xff\xfe\x00")
    shard = next((run.path / PACKED).glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-8])
    second = run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    assert second.layers == first.layers
    assert second.size == first.size


def test_a_report_of_an_outdated_plan_is_not_returned(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    first = run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    run = run_folder_of(CONFIG, tiny_adm, tmp_path)
    other = resolve_plan(preset("w6a8"), layers_of(tiny_adm))
    text = (run.path / "report.json").read_text()
    run.write_text("report.json", text.replace(first.plan.hash, other.sha256))
    run.write_text(PLAN, other.to_json())
    stats = CalibrationFolder(path=run.path / CALIBRATION).stats_path
    made = stats.stat().st_mtime_ns
    again = run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    assert again.plan.hash == first.plan.hash
    assert stats.stat().st_mtime_ns > made, "statistics may lack what the plan needs now"


def test_one_clip_that_is_not_finite_costs_its_pair_only(
    tiny_adm: AudioLDM, tmp_path: Path
) -> None:
    run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    run = run_folder_of(CONFIG, tiny_adm, tmp_path)
    rng, n = np.random.default_rng(0), len(CONFIG.prompts)
    for bank in (FULL, SECOND, QUANTIZED):  # the tiny model is silent
        for i in range(n):
            samples = 0.1 * rng.standard_normal(16_000).astype(np.float32)
            if (bank, i) == (QUANTIZED, 0):
                samples[5] = np.nan
            write_clip(
                run.path / clip_path(bank, i), AudioClip(samples=samples, sample_rate_hz=16_000)
            )
    report = run_study(CONFIG, tiny_adm, runs=tmp_path, ear=find_ear())
    assert any(note.endswith("(NaN): pair 1.") for note in report.notes)
    assert report.pairs[0].paired.embedding_cosine is None
    assert all(pair.paired.embedding_cosine is not None for pair in report.pairs[1:])
    assert {score.n for score in report.scores} == {n - 1}


def test_two_processes_never_write_one_run(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    run = run_folder_of(CONFIG, tiny_adm, tmp_path)
    with run.locked(), pytest.raises(RunBusyError, match="Another process is at work"):
        run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    assert run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR).pairs
