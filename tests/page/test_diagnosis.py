"""A run that failed says how it failed, and what to change."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.diagnosis import diagnosis
from app.finished_run import FinishedRun
from ptq.adms.audioldm import AudioLDM
from ptq.audio import AudioClip, read_clip, write_clip
from ptq.clipping import PARTS, write_counts
from ptq.config import QuantConfig, parse_rules
from ptq.presets import preset
from ptq.results import FdRecord
from ptq.run_folder import RunFolder
from ptq.stages import QUANTIZED
from ptq.study import run_folder_of, run_study
from ptq.study_config import StudyConfig
from tests.calibrations import drawn

CONFIG = StudyConfig(
    adm="tiny",
    quant=preset("w8a8"),
    prompts=("a dog barks", "rain falls"),
    steps=2,
    seconds=0.64,
    calibration=replace(drawn(prompts=8, states=15, reconstruction=1), strategy="activation-aware"),
)


@pytest.fixture
def run(tiny_adm: AudioLDM, tmp_path: Path) -> FinishedRun:
    """A finished run whose pairs are noise, alike in both versions."""
    run_study(CONFIG, tiny_adm, runs=tmp_path, ear="no ear")
    found = FinishedRun.read(run_folder_of(CONFIG, tiny_adm, tmp_path).path, run_id="x")
    rng = np.random.default_rng(0)
    for pair in found.report.pairs:
        noise = 0.05 * rng.standard_normal(10_240).astype(np.float32)
        for name in (pair.reference, pair.quantized):
            write_clip(found.path / name, AudioClip(samples=noise, sample_rate_hz=16_000))
    return found


def changed(run: FinishedRun, samples: np.ndarray) -> None:
    for pair in run.report.pairs:
        clip = AudioClip(samples=samples.astype(np.float32), sample_rate_hz=16_000)
        write_clip(run.path / pair.quantized, clip)


def fd(increase_pct: float, n: int) -> FdRecord:
    """What is recorded of so many pairs: fewer than 512 have plug-in distances alone."""
    enough = n >= 512
    return FdRecord(
        embedder="mini128",
        estimator="split-half" if enough else "plug-in",
        n=n,
        n_ref=10_240,
        dim=128,
        full_precision=20.0,
        quantized=20.0 * (1 + increase_pct / 100),
        quantized_vs_full=1.0,
        verdict="inferior" if enough else "not resolved",
        increase_pct=increase_pct,
        ci95_pct=(increase_pct - 3.0, increase_pct + 3.0) if enough else None,
    )


def test_a_good_run_has_no_signs(run: FinishedRun) -> None:
    assert diagnosis(run) == {}


@pytest.mark.parametrize(("pct", "n", "named"), [(14.0, 512, True), (8.0, 512, False)])
def test_a_risen_distance_points_at_calibration(
    run: FinishedRun, pct: float, n: int, *, named: bool
) -> None:
    risen = replace(run, report=replace(run.report, fd=fd(pct, n)))
    lines = diagnosis(risen).get("lines", [])
    assert any("Fréchet distance rose" in line for line in lines) is named
    assert ("rose by 14 %: calibration may not cover" in str(lines)) is named


def test_few_clips_show_no_rise(run: FinishedRun) -> None:
    few = replace(run, report=replace(run.report, fd=fd(40.0, 256)))
    assert diagnosis(few) == {}


@pytest.mark.parametrize(
    ("index", "n", "named"),
    [(0.4, 8, True), (0.4, 256, True), (0.05, 256, False), (0.4, 512, False)],
)
def test_few_clips_show_how_far_pairs_drift(
    run: FinishedRun, index: float, n: int, *, named: bool
) -> None:
    paired = replace(run.report.paired, divergence_index=index)
    drifted = replace(run, report=replace(run.report, paired=paired, fd=fd(0.0, n)))
    lines = diagnosis(drifted).get("lines", [])
    assert any("as far apart as another seed" in line for line in lines) is named
    assert ("at least 0.40 as far apart" in str(lines)) is named


def test_calibration_that_does_not_fit_is_named(run: FinishedRun) -> None:
    note = "Calibrated with steps 20, sampled with 2: ranges may not fit; calibrate again."
    other = replace(run, report=replace(run.report, notes=(*run.report.notes, note)))
    assert diagnosis(other)["lines"] == [note]


@pytest.mark.parametrize("strategy", ["activation-aware", "uniform"])
def test_ranges_that_calibration_hardly_saw_are_named(
    tiny_adm: AudioLDM, tmp_path: Path, strategy: str
) -> None:
    sparse = replace(drawn(prompts=4, states=1), strategy=strategy)
    config = replace(CONFIG, calibration=sparse)
    run_study(config, tiny_adm, runs=tmp_path, ear="no ear")
    found = FinishedRun.read(run_folder_of(config, tiny_adm, tmp_path).path, run_id="y")
    manifest = found.calibration()
    assert manifest is not None
    worst = min(manifest.site_coverage, key=lambda name: manifest.site_coverage[name])
    assert manifest.site_coverage[worst] < 0.85, "one state of eight is not enough"
    (line, *_) = diagnosis(found)["lines"]
    assert f"values that {worst} was given" in line


def test_a_jump_of_the_level_points_at_ranges(run: FinishedRun) -> None:
    full = read_clip(run.path / run.report.pairs[0].reference).samples
    changed(run, 2.0 * full)
    lines = diagnosis(run)["lines"]
    assert any(line.startswith("Quantized clips are 6.0 dB louder") for line in lines)


@pytest.mark.parametrize(
    ("full_hiss", "quantized_hiss", "told"),
    [(0.0, 0.02, "dB more above 4 kHz"), (0.02, 0.0, "dB less above 4 kHz")],
)
def test_a_jump_of_the_highs_points_at_ranges(
    run: FinishedRun, full_hiss: float, quantized_hiss: float, told: str
) -> None:
    noise = read_clip(run.path / run.report.pairs[0].reference).samples
    hiss = np.sin(2 * np.pi * 6500 * np.arange(len(noise)) / 16_000)
    low = np.convolve(noise, np.ones(16) / 16, mode="same")
    for pair in run.report.pairs:
        samples = (low + full_hiss * hiss).astype(np.float32)
        write_clip(run.path / pair.reference, AudioClip(samples=samples, sample_rate_hz=16_000))
    changed(run, low + quantized_hiss * hiss)
    [line] = [line for line in diagnosis(run)["lines"] if "kHz" in line]
    assert told in line


@pytest.mark.parametrize(
    ("level", "told"), [(0.0, "silent"), (np.nan, "broken (NaN)"), (1.0, "clipped")]
)
def test_clips_that_quantization_broke_are_counted(
    run: FinishedRun, level: float, told: str
) -> None:
    changed(run, np.full(10_240, level))
    counted = f"2 of 2 quantized clips are {told} where full precision is not. Try dynamic"
    assert counted in str(diagnosis(run)["lines"])


def test_clips_that_were_silent_before_are_no_sign(run: FinishedRun) -> None:
    changed(run, np.zeros(10_240))
    for pair in run.report.pairs:
        (run.path / pair.reference).write_bytes((run.path / pair.quantized).read_bytes())
    assert diagnosis(run) == {}


@pytest.mark.parametrize(
    ("rule", "cure"),
    [("a8", "Calibrate on more prompts and states"), ("a8 p90", "Use minmax there")],
)
def test_what_ranges_cut_off_is_named_where_it_is_much(
    tiny_adm: AudioLDM, tmp_path: Path, rule: str, cure: str
) -> None:
    rules = parse_rules(f"denoiser.conv_out = {rule}\n* = keep")
    config = replace(CONFIG, quant=QuantConfig(name="x", rules=rules))
    run_study(config, tiny_adm, runs=tmp_path, ear="no ear")
    found = FinishedRun.read(run_folder_of(config, tiny_adm, tmp_path).path, run_id="z")
    seen = [1000] * PARTS
    for beyond, named in ((26, True), (24, False)):
        counts = {"denoiser.conv_out": {"beyond": [0] * (PARTS - 1) + [beyond], "seen": seen}}
        write_counts(RunFolder(path=found.path), QUANTIZED, 0, counts)
        lines = diagnosis(found).get("lines", [])
        assert ("2.6 % of what denoiser.conv_out was given lay beyond" in str(lines)) is named
        assert any("lay beyond its range" in line for line in lines) is named
        assert ("In part 10 of 10 of the denoising, 2.6 %" in str(lines)) is named
        assert (cure in str(lines)) is named
