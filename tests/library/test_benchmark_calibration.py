"""The comparison of calibrations in small: its control does not move, and sets say their reach."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from benchmarks import calibration_cells
from benchmarks.calibration_cells import (
    CALIBRATED,
    CONTROL,
    PROMPTS,
    RANGES,
    SHORT,
    STRATEGIES,
    Cell,
    Cells,
)
from benchmarks.calibration_effects import (
    Arm,
    Contrast,
    control_is_alike,
    effects_of,
    gains_of,
    reach_of,
)
from ptq.adms.audioldm import AudioLDM


def test_the_control_is_alike_whatever_calibrates(
    tiny_adm: AudioLDM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_cells, "RECORDED", 3)
    monkeypatch.setitem(calibration_cells.HELD_OUT, "prompts", 2)
    monkeypatch.setitem(calibration_cells.HELD_OUT, "states", 4)
    wanted = [
        Cell(prompts="random", states=states, size=7, seed=1, plan=plan)
        for states in STRATEGIES
        for plan in (RANGES, CALIBRATED, CONTROL)
    ]
    cells = Cells(adm=tiny_adm, pairs=2, settings=replace(SHORT, steps=5, seconds=0.64))
    found = [{**asdict(cell), **scores} for cell, scores in cells.rows(wanted)]
    measures = ("prediction_sqnr_db", "latent_sqnr_db")
    for plan, kinds in ((CONTROL, 1), (RANGES, len(STRATEGIES)), (CALIBRATED, len(STRATEGIES))):
        rows = [
            tuple(tuple(row[name]) for name in measures) for row in found if row["plan"] == plan
        ]
        assert len(set(rows)) == kinds, plan
    assert control_is_alike(found)
    everything = Cell(prompts="random", states="uniform", size=20, seed=1, plan=CONTROL)
    ((_, most),) = cells.rows([everything])
    assert {row["states"] for row in reach_of(found)} == set(STRATEGIES)
    for row in reach_of(found):
        for name in ("range_mean", "range_least", "outlier_channels"):
            assert 0 < row[name] <= most[name] <= 1, "no choice reaches more than all states do"


def _row(
    prompts: str, states: str, size: int, seed: int, db: float, plan: str = RANGES
) -> dict[str, Any]:
    cell = Cell(prompts=prompts, states=states, size=size, seed=seed, plan=plan)
    return {**asdict(cell), "latent_sqnr_db": [db, db + 2.0]}


def _level(prompts: str, states: str, size: int, seed: int) -> float:
    """A model in which choices add up: each seed has prompts of its own, and luck with states."""
    luck = 0.1 * seed if states == "activation-aware" else 0.0
    return 20.0 + seed + (prompts == "covering") + 3 * (size == 64) + luck


ROWS = [
    _row(prompts, states, size, seed, _level(prompts, states, size, seed))
    for prompts in PROMPTS
    for states in STRATEGIES
    for size in (32, 64)
    for seed in (1, 2, 3)
]


def test_gains_are_those_of_seeds_and_pair_by_size() -> None:
    none, whole = (
        Arm(prompts="random", states="uniform"),
        Arm(prompts="covering", states="activation-aware"),
    )
    contrast = Contrast(ours=whole, base=none)
    gains = gains_of(ROWS, contrast, RANGES, "latent_sqnr_db")
    assert gains == pytest.approx([1.1, 1.2, 1.3])
    lacking = [row for row in ROWS if (row["seed"], row["size"]) != (2, 64)]
    assert gains_of(lacking, contrast, RANGES, "latent_sqnr_db") == pytest.approx([1.1, 1.3])
    sizes = Contrast(ours=replace(none, size=64), base=replace(none, size=32))
    assert gains_of(ROWS, sizes, RANGES, "latent_sqnr_db") == pytest.approx([3.0] * 3)


def test_effects_have_intervals_over_seeds() -> None:
    effects = {(e["ours"], e["base"]): e for e in effects_of(ROWS)}
    assert all(effect["seeds"] == 3 and effect["plan"] == RANGES for effect in effects.values())
    ours, base = "covering prompts, activation-aware states", "random prompts, uniform states"
    found = effects[ours, base]
    assert found["gain_db"] == pytest.approx(1.2)
    # Student's t of two degrees of freedom by hand: 4.303 x 0.1 / sqrt(3).
    assert found["ci95_db"] == pytest.approx([1.2 - 0.248, 1.2 + 0.248], abs=1e-3)
    assert (ours, "random prompts, activation-aware states") in effects
    assert (ours, "covering prompts, density-diversity states") in effects
    assert (f"{ours}, 64", f"{ours}, 32") in effects
    assert (f"{ours}, 32", f"{base}, 32") in effects
    assert list(effects_of([])) == []


def test_a_control_that_moves_is_seen() -> None:
    rows = [_row("random", states, 32, 1, 20.0, CONTROL) for states in STRATEGIES]
    assert control_is_alike(rows)
    assert not control_is_alike([*rows, _row("covering", "uniform", 32, 1, 20.1, CONTROL)])
    assert control_is_alike(ROWS) is None, "it was not measured"
    assert not any(effect["plan"] == CONTROL for effect in effects_of(rows))
