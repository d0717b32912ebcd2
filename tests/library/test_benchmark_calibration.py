"""The comparison of calibrations in small: its control does not move, and sets say their reach."""

from dataclasses import asdict, replace

import pytest

from benchmarks import calibration_cells
from benchmarks.calibration import reach_of
from benchmarks.calibration_cells import CALIBRATED, CONTROL, SHORT, STRATEGIES, Cell, Cells
from ptq.adms.audioldm import AudioLDM


def test_the_control_is_alike_whatever_calibrates(
    tiny_adm: AudioLDM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_cells, "RECORDED", 3)
    monkeypatch.setattr(calibration_cells, "_VALIDATION_PROMPTS", 2)
    monkeypatch.setattr(calibration_cells, "_VALIDATION_STATES", 4)
    wanted = [
        Cell(prompts="random", states=states, size=7, seed=1, plan=plan)
        for states in STRATEGIES
        for plan in (CALIBRATED, CONTROL)
    ]
    cells = Cells(adm=tiny_adm, pairs=2, settings=replace(SHORT, steps=5, seconds=0.64))
    found = [{**asdict(cell), **scores} for cell, scores in cells.rows(wanted)]
    measures = ("prediction_sqnr_db", "latent_sqnr_db")
    for plan, kinds in ((CONTROL, 1), (CALIBRATED, len(STRATEGIES))):
        rows = [
            tuple(tuple(row[name]) for name in measures) for row in found if row["plan"] == plan
        ]
        assert len(set(rows)) == kinds, plan
    everything = Cell(prompts="random", states="uniform", size=20, seed=1, plan=CONTROL)
    ((_, most),) = cells.rows([everything])
    assert {row["states"] for row in reach_of(found)} == set(STRATEGIES)
    for row in reach_of(found):
        for name in ("range_mean", "range_least", "outlier_channels"):
            assert 0 < row[name] <= most[name] <= 1, "no choice reaches more than all states do"
