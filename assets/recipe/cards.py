"""Model cards of the ear and the judge: what they are, how they were made, what they reach."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_EAR = """# mini128: the ear

A log-mel CNN that embeds a clip in 128 numbers, names its sources and scores captions. Trained
on this project's own synthesised corpus (no recordings), seeds of purpose "ear".

**It is a synthetic-domain embedding: its Fréchet distances are not comparable with published
ones.** They compare versions of one model on one set of prompts.

## Training

`python -m assets.recipe ear` — {clips} clips of 2.56 s and 5.12 s, seed {seed}, {steps} steps of
31 short or 15 long clips, then {caption_steps} steps of the captions alone with the audio tower
frozen, {minutes:.0f} minutes in all on a share of one CPU core. Half of every batch is
degraded in one of eight ways at a known level. Loss: cross-entropy of every source + squared error
of the levels + symmetric InfoNCE with captions in which a source, the order or an attribute is
swapped. Weights are averaged over steps. Front end: 16 kHz, DC removed, scaled to an RMS of 1,
FFT 512, hop 320, 64 mel bands from 50 Hz to 8 kHz, logarithm with a floor 50 dB below the clip.

SHA-256 of `mini128.safetensors` (float16): `{sha256}`

## What it hears

Printed by `python -m benchmarks.ear` on {n} unseen clips of 2.56 s. Distances are in units of the
total variance of the clips.

| test | figure | bar |
|---|---|---|
{table}

FD from the same clips, degraded (mild to severe):

| degradation | grid | mini128 | logmel128 |
|---|---|---|---|
{grades}
"""

_JUDGE = """# The judge

An independent classifier of the corpus's {n_sources} sources: own seeds (purpose "judge"), own
architecture (residual 2-D CNN with attention over time), own front end (ERB-rate bands with
power-law compression). It grades the embedded ADM, and nothing is trained on it.

## Training

`python -m assets.recipe judge` — {clips} clips of 2.56 s and 5.12 s with one to three events,
{steps} steps, {minutes:.0f} minutes on a share of one CPU core. Target: equal shares for the
sources present. Some clips get a second clip or noise mixed in.

SHA-256 of `judge.safetensors` (float16): `{sha256}`

## What it reaches on corpus clips with unseen seeds

Printed by `python -m benchmarks.judge`.

| clips | figure |
|---|---|
{table}
"""


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def _ear_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    twins = ", ".join(f"{name} {value:.1e}" for name, value in figures["T2"].items())
    over = ", ".join(
        f"{name.lower()} ×{value:.1f}" for name, value in figures["T5_over_limit"].items()
    )
    return [
        ("T1 FD of a set to itself", f"{figures['T1_self']:.1e}", "< 1e-9"),
        ("T2 FD under gain, polarity, shift", twins, "gain < 1e-6, others < 0.01"),
        ("T3 every paired grid rises", str(figures["T3_monotone"]), "True"),
        ("T4 Spearman to other clips, mean", f"{figures['T4_spearman_mean']:.3f}", "≥ 0.9"),
        ("T5 FD over the 95 % permutation limit", over, "> 1"),
        (
            "T6 FD of families over noise floor",
            f"{figures['T6_families_over_floor']:.1f}",
            "> 10",
        ),
        ("T6 top-1 in labels", f"{figures['T6_top1_in_labels']:.3f}", "≥ 0.9"),
        ("T6 matched over mismatched caption", f"{figures['T6_matched_share']:.3f}", "≥ 0.95"),
        ("T6 over swapped source", f"{figures['T6_source_swap_share']:.3f}", "≥ 0.95"),
        ("T6 over swapped order", f"{figures['T6_order_swap_share']:.3f}", "≥ 0.8"),
        ("T6 over swapped attribute", f"{figures['T6_attribute_swap_share']:.3f}", "≥ 0.8"),
        ("T7 Kendall τ with logmel128", f"{figures['T7_kendall_tau']:.2f}", "≥ 0.7"),
        ("T8 FD of silence", f"{figures['T8_silence']:.2f}", "above severe smear"),
        ("T8 IS of silence", f"{figures['T8_inception_score_silence']:.3f}", "1"),
        (
            "T9 FD of 2.56 s from 5.12 s over FD of noise at 0 dB",
            f"{figures['T9_length_over_severe_noise']:.3f}",
            "< 0.1",
        ),
        ("T10 largest batch difference", f"{figures['T10_batch_difference']:.1e}", "≤ 1e-6"),
    ]


def _grade_rows(figures: Mapping[str, Any]) -> list[tuple[str, ...]]:
    paired = figures["T3_paired"]
    return [
        (
            kind.lower(),
            " ".join(f"{value:g}" for value in grid),
            *(
                " ".join(f"{value:.2g}" for value in paired[name][kind])
                for name in ("mini128", "logmel128")
            ),
        )
        for kind, grid in figures["T3_grid"].items()
    ]


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write_ear_card(folder: Path, figures: Mapping[str, Any]) -> str:
    """Write `card.md` beside the ear's weights.

    Args:
        folder: `assets/ear`.
        figures: What `benchmarks/ear.py` measured.

    Returns:
        The card.
    """
    config = _config(folder)
    training = config["training"]
    card = _EAR.format(
        clips=training["clips"],
        seed=training["seed"],
        steps=training["steps"],
        caption_steps=training["caption_steps"],
        minutes=training["seconds"] / 60,
        sha256=config["sha256"],
        n=figures["clips"],
        table=_table(_ear_rows(figures)),
        grades=_table(_grade_rows(figures)),
    )
    (folder / "card.md").write_text(card, encoding="utf-8")
    return card


def write_judge_card(folder: Path, figures: Mapping[str, Any]) -> str:
    """Write `card.md` beside the judge's weights.

    Args:
        folder: `assets/judge`.
        figures: What `benchmarks/judge.py` measured.

    Returns:
        The card.
    """
    config = _config(folder)
    rows = [
        (f"single source, {length} s, top-1", f"{100 * value:.1f} %")
        for length, value in figures["single_top1"].items()
    ]
    rows.append(("two events, 5.12 s, both in top 3", f"{100 * figures['pair_top3']:.1f} %"))
    rows.append(("weakest sources, 5.12 s", figures["weakest"]))
    card = _JUDGE.format(
        n_sources=len(config["sources"]),
        clips=config["training"]["clips"],
        steps=config["training"]["steps"],
        minutes=config["training"]["seconds"] / 60,
        sha256=config["sha256"],
        table=_table(rows),
    )
    (folder / "card.md").write_text(card, encoding="utf-8")
    return card
