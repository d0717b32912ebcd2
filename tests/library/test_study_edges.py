"""Studies at the edges: rules for every layer, a model that breaks down, a study never begun."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ptq.adms.audioldm import AudioLDM
from ptq.audio import read_clip
from ptq.config import QuantConfig, parse_rules
from ptq.errors import CheckpointError
from ptq.metrics.embed.ear import find_ear
from ptq.presets import preset
from ptq.stages import PACKED, QUANTIZED, clip_path, latents_path
from ptq.study import run_folder_of, run_study
from tests.library.test_study import CONFIG, NO_EAR


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
    assert any("NaN" in note for note in report.notes)
    assert all(pair.paired.log_mel_l1_db is None for pair in report.pairs)
    clip = read_clip(run_folder_of(config, tiny_adm, tmp_path).path / clip_path(QUANTIZED, 0))
    assert not clip.samples.any()


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
    # What an older version left: its packed weights, its clips, and no report.
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
    run.file(latents_path(QUANTIZED, 0)).write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"quantized/000\.npy cannot be read.*delete it"):
        run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
    run.file("report.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match="run the study again"):
        run_study(CONFIG, tiny_adm, runs=tmp_path, ear=NO_EAR)
