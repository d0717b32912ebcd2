"""A report as Markdown and as one HTML file: complete, and safe with what users type."""

import base64
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptq.audio import AudioClip, write_clip
from ptq.report import Report
from ptq.report_html import to_html
from ptq.report_markdown import number, summary_rows, table, to_markdown
from ptq.results import (
    AdmRecord,
    CalibrationRecord,
    DenoiserSize,
    FdRecord,
    PairedRecord,
    PairRecord,
    PipelineSize,
    PlanRecord,
    Score,
    SizeRecord,
)

HOSTILE = "<script>alert('x')</script> & | \"quotes\""
REPORT = Report(
    adm=AdmRecord(id="tiny", family="audioldm", source="0" * 64),
    plan=PlanRecord(name=HOSTILE, hash="1" * 64, weight_bits_mean=4.25),
    settings={"steps": 4},
    environment={"python": "3.11"},
    size=SizeRecord(
        denoiser=DenoiserSize(
            fp32_bytes=4_000_000, fp16_bytes=2_000_000, quantized_bytes=600_000, bits_per_weight=4.8
        ),
        pipeline=PipelineSize(
            fp32_bytes=8_000_000,
            fp16_bytes=4_000_000,
            quantized_bytes=2_000_000,
            reduction_pct=75.0,
        ),
    ),
    layers=(),
    paired=PairedRecord(latent_sqnr_db=12.34, log_mel_l1_db=1.5),
    pairs=(
        PairRecord(
            prompt=HOSTILE,
            seed=0,
            reference="reference/000.flac",
            quantized="quantized/000.flac",
            paired=PairedRecord(latent_sqnr_db=12.34),
        ),
    ),
    timings_s={"plan": 0.1},
    notes=(f"calibration is absent: {HOSTILE}",),
    scores=(Score(name="kad", value=1.0, unit="x100", higher_is_better=False, n=8),),
)
FD = FdRecord(
    embedder="mini128",
    estimator="split-half",
    n=512,
    n_ref=10_240,
    dim=128,
    full_precision=0.5,
    quantized=0.51,
    quantized_vs_full=0.01,
    verdict="non-inferior",
    increase_pct=2.0,
    ci95_pct=(0.5, 3.5),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("reference/000.flac", "quantized/000.flac"):
        samples = 0.1 * rng.standard_normal(1600).astype(np.float32)
        write_clip(tmp_path / name, AudioClip(samples=samples, sample_rate_hz=16_000))
    return tmp_path


def test_html_escapes_what_users_typed(run: Path) -> None:
    page = to_html(REPORT, run)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 6  # title, heading, plan, prompt, clip label and note


def test_html_holds_its_clips(run: Path) -> None:
    page = to_html(REPORT, run)
    inlined = re.findall(r"data:audio/flac;base64,([\w+/=]+)", page)
    files = [(run / name).read_bytes() for name in ("reference/000.flac", "quantized/000.flac")]
    assert [base64.b64decode(text) for text in inlined] == files
    assert not re.search(r"(src|href)=[\"']?(https?:|/|\w+/)", page)


def test_markdown_keeps_a_cell_a_cell() -> None:
    (row,) = [line for line in to_markdown(REPORT).splitlines() if "reference/000.flac" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 7
    assert table(("a", "b"), [("1|2", "3")]).splitlines() == [
        "| a | b |",
        "|---|---|",
        "| 1\\|2 | 3 |",
    ]


def test_markdown_names_what_is_absent() -> None:
    text = to_markdown(REPORT)
    assert "| embedding cosine | n/a |" in text
    assert "- calibration is absent" in text
    assert "| plan | 0.1 |" in text
    assert number(None) == "n/a"
    assert number(0.0, 1, " dB") == "0.0 dB"


def test_what_calibration_reached_stands_beside_random_states() -> None:
    figures = {"range_mean": 0.993, "random_range_mean": 0.985, "outlier_channels": 0.9}
    record = CalibrationRecord(
        strategy="activation-aware", prompts=17, states=120, manifest="m", coverage=figures
    )
    rows = dict(summary_rows(Report(**{**vars(REPORT), "calibration": record})))
    assert rows["calibration"] == (
        "120 activation-aware states of 17 prompts; the states reach "
        "99.3 % (random states: 98.5 %) of the layers' peaks"
    )
    covered = replace(record, coverage={"near": 0.064, "radius": 0.8, "cells": 0.83})
    rows = dict(summary_rows(Report(**{**vars(REPORT), "calibration": covered})))
    assert rows["calibration"] == (
        "120 activation-aware states of 17 prompts; the prompts fill 83 % of the pairs of family "
        "and aspect, and closely serve 6 % of the reference prompts"
    )
    plain = replace(record, coverage={})
    rows = dict(summary_rows(Report(**{**vars(REPORT), "calibration": plain})))
    assert rows["calibration"] == "120 activation-aware states of 17 prompts"


def test_a_distance_is_shown_with_its_interval_and_verdict() -> None:
    assert "verdict" not in dict(summary_rows(REPORT))
    rows = dict(summary_rows(Report(**{**vars(REPORT), "fd": FD})))
    assert rows["FD (mini128, split-half, n = 512)"] == (
        "0.5000 → 0.5100 (+2.0 %, 95 % interval +0.5 to +3.5 %)"
    )
    assert rows["verdict"] == "non-inferior"
    assert rows["pipeline"] == "8.00 MB fp32 → 2.00 MB (−75.0 %; −50.0 % against fp16)"
