"""What ships was made of what ships: weights, presets and calibration."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from assets.recipe.gallery import PLANS, made_of, plan_of
from ptq.adms.base import AudioDiffusionModel
from ptq.adms.loading import load_adm
from ptq.adms.registry import ADMS_FOLDER, find_adm
from ptq.calibration.folder import CalibrationFolder
from ptq.calibration.manifest import CalibrationManifest
from ptq.calibration.shipped import SHIPPED_FOLDER
from ptq.presets import PRESETS, preset
from ptq.shipped_sensitivities import shipped_sensitivities

EMBEDDED = "mini-audioldm"


@pytest.fixture(scope="module")
def adm() -> AudioDiffusionModel:
    return load_adm(find_adm(EMBEDDED))


@pytest.fixture(scope="module")
def calibration() -> CalibrationManifest:
    return CalibrationFolder(path=SHIPPED_FOLDER / EMBEDDED).manifest()


def shipped(*path: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(Path(ADMS_FOLDER.parent, *path).read_text(encoding="utf-8"))
    return value


def test_the_gallery_was_made_of_what_ships(
    adm: AudioDiffusionModel, calibration: CalibrationManifest
) -> None:
    gallery = shipped("gallery", "gallery.json")
    assert gallery["model"] == adm.source_hash == calibration.model_hash
    expected = {name: made_of(plan_of(adm, preset(name)), calibration) for name in PLANS}
    assert gallery["made_of"] == expected
    families = Counter(item["family"] for item in gallery["items"])
    assert len(families) == 7
    assert min(families.values()) >= 2
    assert families.total() >= 24


def test_the_sensitivities_were_measured_on_what_ships(
    adm: AudioDiffusionModel, calibration: CalibrationManifest
) -> None:
    found = shipped_sensitivities(EMBEDDED, adm.source_hash)
    assert found is not None
    assert shipped_sensitivities(EMBEDDED, "of other weights") is None
    assert found.calibration == calibration.sha256


def test_the_scores_were_measured_on_what_ships(
    adm: AudioDiffusionModel, calibration: CalibrationManifest
) -> None:
    scores = shipped("scores", f"{EMBEDDED}.json")
    assert scores["model"] == adm.source_hash
    rows = {row["name"]: row for row in scores["presets"]}
    assert list(rows) == list(PRESETS)
    for name, row in rows.items():
        expected = made_of(plan_of(adm, preset(name)), calibration)
        assert {key: row.get(key) for key in ("plan", "calibration")} == {
            "plan": None,
            "calibration": None,
        } | expected
