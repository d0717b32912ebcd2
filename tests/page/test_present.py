"""Rules, edits and view-models: pure functions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from app.activations import activations_of, most_telling, site_names
from app.components.layer_grid import LayerEdit
from app.figures.distance import distances
from app.figures.histogram import histogram
from app.figures.spectrograms import spectrograms
from app.gallery import read_gallery
from app.present import grid_value, plan_summary, player, rule_notice, word_notice
from app.rule_edits import apply_edit
from app.rules import RuleProblem, draft_plan
from app.shipped_scores import read_scores
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.audio import AudioClip, write_clip
from ptq.config import format_rules
from ptq.errors import CheckpointError, ConfigError
from ptq.layer_spec import LayerInfo, LayerKind
from ptq.metrics.embed.ear import Ear
from ptq.observers import LayerObserver
from ptq.presets import PRESETS
from ptq.prompts.vocabulary import unknown_words

RATE_HZ = 16_000
PRESET_RULES = format_rules(PRESETS["w8a8"].rules)


def linear(name: str, *, row: int = 128) -> LayerInfo:
    return LayerInfo(
        name=name,
        kind=LayerKind.LINEAR,
        weight_shape=(64, row),
        row=row,
        parameters=64 * row,
        bias_parameters=64,
    )


LAYERS = (
    linear("denoiser.in"),
    linear("denoiser.attn.to_q"),
    linear("denoiser.attn.to_k", row=96),
    LayerInfo(name="denoiser.attn.probs", kind=LayerKind.ATTENTION_PROBABILITIES),
    linear("vae.out"),
    LayerInfo(
        name="text_encoder.words",
        kind=LayerKind.EMBEDDING,
        weight_shape=(10, 32),
        row=32,
        parameters=320,
    ),
)


def bits(rules: str) -> dict[str, tuple[int, int]]:
    plan = draft_plan(rules, LAYERS).plan
    assert plan is not None
    rows = grid_value(plan, LAYERS)["rows"]
    return {row["name"]: (row["weight_bits"], row["activation_bits"]) for row in rows}


def edit(
    *names: str, pattern: str | None = None, w: int | None = None, a: int | None = None
) -> LayerEdit:
    return LayerEdit(pattern=pattern, names=names, weight_bits=w, activation_bits=a)


def test_every_bad_line_is_reported_with_its_number() -> None:
    draft = draft_plan("denoiser.* = w4\nwhat\n\n* = w99\n", LAYERS)
    assert [problem.line for problem in draft.problems] == [2, 4]
    assert not any("line 1" in problem.message for problem in draft.problems)


@pytest.mark.parametrize(
    ("rules", "line"),
    [("* = keep\nnothing.* = w4", 2), ("# first\n\ndenoiser.* = w4\ndenoiser.in = w8", 4)],
    ids=["matches nothing", "never reached"],
)
def test_a_rule_without_layers_names_its_line(rules: str, line: int) -> None:
    [problem] = draft_plan(rules, LAYERS).problems
    assert problem.line == line


def test_one_layer_is_edited_and_keeps_its_other_half() -> None:
    edited = apply_edit(PRESET_RULES, edit("denoiser.in", w=4), LAYERS)
    assert edited.startswith("denoiser.in = ")
    assert bits(edited) == {**bits(PRESET_RULES), "denoiser.in": (4, 8)}


def test_a_pattern_becomes_one_rule_where_its_layers_agree() -> None:
    edited = apply_edit(PRESET_RULES, edit(pattern="denoiser.attn.to_?", w=4, a=6), LAYERS)
    assert len(edited.splitlines()) == len(PRESET_RULES.splitlines()) + 1
    assert bits(edited)["denoiser.attn.to_q"] == bits(edited)["denoiser.attn.to_k"] == (4, 6)


def test_a_pattern_over_all_layers_sets_only_what_it_names() -> None:
    edited = apply_edit(PRESET_RULES, edit(pattern="*", w=3), LAYERS)
    before, after = bits(PRESET_RULES), bits(edited)
    assert {name: a for name, (_, a) in after.items()} == {n: a for n, (_, a) in before.items()}
    weights = {name: w for name, (w, _) in after.items() if "probs" not in name}
    assert set(weights.values()) == {3}


def test_attention_probabilities_take_activation_bits() -> None:
    edited = apply_edit(PRESET_RULES, edit(pattern="*attn*", a=8), LAYERS)
    assert bits(edited)["denoiser.attn.probs"] == (32, 8)
    kept = apply_edit(edited, edit(pattern="*attn*", w=32, a=32), LAYERS)
    assert bits(kept)["denoiser.attn.probs"] == bits(kept)["denoiser.attn.to_q"] == (32, 32)


def test_editing_again_and_again_does_not_pile_rules_up() -> None:
    rules = PRESET_RULES
    for width in (2, 3, 4, 5):
        rules = apply_edit(rules, edit("denoiser.in", w=width), LAYERS)
        rules = apply_edit(rules, edit(pattern="denoiser.*", a=width + 2), LAYERS)
    assert len(rules.splitlines()) <= len(PRESET_RULES.splitlines()) + 2
    assert bits(rules)["denoiser.in"] == (5, 7)


def test_an_edit_may_take_every_layer_from_a_rule_of_the_visitor() -> None:
    edited = apply_edit("# mine\ndenoiser.in = w8\n", edit(pattern="*", w=4), LAYERS)
    assert bits(edited)["denoiser.in"] == (4, 32)
    assert "# mine" in edited


def test_an_edit_of_no_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="matches no layer"):
        apply_edit(PRESET_RULES, edit(pattern="nothing", w=4), LAYERS)


def test_the_summary_counts_what_the_grid_shows() -> None:
    plan = draft_plan(PRESET_RULES, LAYERS).plan
    assert plan is not None
    [size, stored, mean, layers] = [row[1] for row in plan_summary(plan, LAYERS)["rows"]]
    assert size.endswith("%)")
    assert stored.endswith("%)")
    assert mean.startswith("8.00")
    assert layers == "5 of 6"


def test_notices_name_the_line_and_the_word() -> None:
    [line] = rule_notice([RuleProblem(line=3, message="wrong")])["lines"]
    assert line == "Line 3: wrong"
    assert rule_notice([]) == {}
    [line] = word_notice(unknown_words("a dogg"))["lines"]
    assert "“dogg”" in line
    assert "a dog barking" in line


def test_a_player_only_turns_down(tmp_path: Path) -> None:
    files = []
    for name, level in (("loud", 0.4), ("quiet", 0.1)):
        clip = AudioClip(samples=tone(level), sample_rate_hz=RATE_HZ)
        files.append((name, write_clip(tmp_path / f"{name}.flac", clip)))
    gains = [track["gain_db"] for track in player(files, "")["tracks"]]
    assert gains == pytest.approx([-12.04, 0.0], abs=0.1)


def tone(level: float) -> np.ndarray:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    return (level * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)


def test_a_histogram_shows_levels_and_what_is_clipped() -> None:
    observer = LayerObserver(channel_axis=-1, buckets=2)
    values = torch.randn(4096, 128, generator=torch.Generator().manual_seed(0))
    observer.update_(values, 0)
    observer.update_(10 * values, 1)
    stats = {"denoiser.in": observer.result()}
    plan = draft_plan("denoiser.in = a4 p99\n", LAYERS).plan
    assert plan is not None
    assert [key for _, key in site_names(stats)] == ["denoiser.in#0"]
    assert most_telling(stats, plan) == "denoiser.in#0"
    wide = activations_of(stats, plan, site="denoiser.in#0", bucket=1)
    assert wide.levels is not None
    assert len(wide.levels) == 16
    assert wide.shares.sum() == pytest.approx(1.0)
    assert wide.clipped_pct is not None
    assert 0.5 < wide.clipped_pct < 15.0
    assert wide.step == pytest.approx(wide.levels[1] - wide.levels[0])
    assert "16 levels" in histogram(wide).layout.title.text.replace("<br>", " ")
    with pytest.raises(ConfigError, match="no such layer"):
        activations_of(stats, plan, site="denoiser.in#0", bucket=-1)


def test_a_part_that_calibration_never_saw_is_not_called_unclipped() -> None:
    observer = LayerObserver(channel_axis=-1, buckets=2)
    observer.update_(torch.randn(64, 128, generator=torch.Generator().manual_seed(0)), 0)
    plan = draft_plan("denoiser.in = a4\n", LAYERS).plan
    assert plan is not None
    stats = {"denoiser.in": observer.result()}
    unseen = activations_of(stats, plan, site="denoiser.in#0", bucket=1)
    assert unseen.clipped_pct is None
    assert "saw nothing in this part" in histogram(unseen).layout.title.text.replace("<br>", " ")


def test_spectrograms_stay_small_and_show_a_difference() -> None:
    noise = np.random.default_rng(0).normal(size=10 * RATE_HZ).astype(np.float32)
    full = AudioClip(samples=0.1 * noise, sample_rate_hz=RATE_HZ)
    half = AudioClip(samples=0.05 * noise, sample_rate_hz=RATE_HZ)
    figure = spectrograms(full, half, "half")
    assert len(figure.to_json()) < 1_000_000
    assert np.median(figure.data[2].z) == -6  # 20·log10(½) dB


def test_shipped_scores_are_drawn_with_intervals_and_floor(tmp_path: Path) -> None:
    preset = {"name": "w8a8", "increase_pct": 1.0, "ci95_pct": [-1.0, 3.0], "full_precision": 4.0}
    preset |= {"verdict": "non-inferior", "size_bytes": 1, "reduction_pct": 70.0}
    near = {**preset, "name": "near", "increase_pct": None, "ci95_pct": None}
    data = {"adm": "a", "model": "m", "embedder": "e", "n": 512, "noise_floor": 0.1}
    data["presets"] = [preset, near]
    (tmp_path / "a.json").write_text(json.dumps(data))
    scores = read_scores("a", tmp_path)
    assert scores is not None
    assert scores.noise_floor_pct == pytest.approx(2.5)
    figure = distances(scores, None)
    assert figure.data[0].error_x.array == (2.0,)  # one has no ratio, and no row
    assert read_scores("b", tmp_path) is None


def test_the_scores_that_ship_are_of_the_weights_and_the_ear_that_ship() -> None:
    scores = read_scores("mini-audioldm")
    assert scores is not None
    assert scores.model == load_adm(find_adm("mini-audioldm")).source_hash
    assert scores.embedder == Ear.load().id
    assert scores.n >= 512
    assert scores.presets[0].name == "fp"


def test_a_gallery_is_complete_or_refused(tmp_path: Path) -> None:
    assert read_gallery(tmp_path) is None
    item = {"prompt": "p", "family": "f", "seed": 1, "clips": {"fp": "000-fp.flac"}}
    data = {"adm": "a", "plans": ["fp"], "items": [item]}
    (tmp_path / "gallery.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match=r"lacks the clip 000-fp\.flac"):
        read_gallery(tmp_path)
    (tmp_path / "000-fp.flac").touch()
    gallery = read_gallery(tmp_path)
    assert gallery is not None
    assert gallery.families == ("f",)
