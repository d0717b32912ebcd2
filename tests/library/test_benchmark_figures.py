"""Every table of the benchmarks has a figure, drawn from its JSON."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from benchmarks.calibration_cells import CALIBRATED, RANGES
from benchmarks.figures import FIGURES, draw
from benchmarks.records import RESULTS, earlier, write_results

PLAN = {"name": "w4a8", "size_bytes": 11_570_000, "increase_pct": 9.0, "ci95_pct": [4.0, 14.0]}
SPREAD = {"median": 20.0, "low": 15.0, "high": 22.0, "n": 16}
EFFECT = {"ours": "covering prompts, uniform states", "base": "random prompts, uniform states"}
TABLES: dict[str, dict[str, Any]] = {
    "claim": {"presets": [PLAN, {**PLAN, "name": "broken", "ci95_pct": None}]},
    "lowest": {"rows": [{**PLAN, "method": "MSE", "stored_bits": 4.2}, {"method": "none"}]},
    "toolkits": {"rows": [{**PLAN, "denoiser_bytes": 6_000_000}]},
    "calibration": {
        "effects": [
            {**EFFECT, "plan": plan, "measure": name, "gain_db": 0.4, "ci95_db": [-0.1, 0.9]}
            for plan in (RANGES, CALIBRATED)
            for name in ("latent_sqnr_db", "prediction_sqnr_db")
        ]
    },
    "robustness": {
        "rows": [
            {"condition": condition, "preset": preset, "latent_sqnr_db": SPREAD}
            for condition in ("as calibrated", "nothing")
            for preset in ("w8a8", "ptq4adm")
        ]
        + [{"condition": "silence", "preset": "w8a8", "latent_sqnr_db": None}]
    },
    "cost": {"rows": [{"title": "small", "seconds": {"reference": 9.0, "quantize": 24.0}}]},
}


@pytest.mark.parametrize("name", list(FIGURES))
def test_what_ships_is_drawn_beside_its_figures(name: str, tmp_path: Path) -> None:
    assert draw(name, tmp_path) is None, "nothing has been measured"
    shutil.copy(RESULTS / f"{name}.json", tmp_path)
    assert_drawn(draw(name, tmp_path), tmp_path / f"{name}.png")


@pytest.mark.parametrize("name", list(TABLES))
def test_what_is_missing_is_left_out_of_a_figure(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.json").write_text(json.dumps(TABLES[name]), encoding="utf-8")
    assert_drawn(draw(name, tmp_path), tmp_path / f"{name}.png")


def assert_drawn(path: Path | None, where: Path) -> None:
    assert path == where
    picture = imread(where)
    assert picture.shape[1] == 880
    assert picture[..., :3].std() > 0.01, "something is drawn"


def test_a_run_without_effects_yet_has_no_figure(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text('{"rows": [{}], "effects": []}', encoding="utf-8")
    assert draw("calibration", tmp_path) is None


def test_rows_are_kept_only_where_the_same_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.records.RESULTS", tmp_path / "results")
    what = {"model": "a", "limits": (0.1, 0.5)}
    assert earlier("mine", what) == {}
    write_results("mine", {**what, "rows": [1]})
    assert earlier("mine", what)["rows"] == [1]
    for other in ({**what, "limits": (0.1, 0.6)}, {**what, "seed": 1}):
        with pytest.raises(SystemExit, match=r"figures of another (limits|seed); move it away"):
            earlier("mine", other)
    assert earlier("mine", what)["rows"] == [1], "nothing is lost"
