"""The search for the least bits keeps what it knows, and no row of a ladder that has changed."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks import records
from benchmarks.lowest import Results
from benchmarks.presets import PlanBench
from ptq.adms.audioldm import AudioLDM
from ptq.config import QuantConfig, parse_rules
from ptq.plan import QuantPlan


@dataclass(frozen=True, kw_only=True)
class Graded(Results):
    """Stands in for 512 pairs of clips: a plan's verdict is written in its name."""

    asked: list[str] = field(default_factory=list)

    def _scores(self, config: QuantConfig, final: PlanBench) -> dict[str, Any]:
        del final
        self.asked.append(config.name)
        return {"name": config.name, "verdict": config.name}


@pytest.fixture
def graded(tiny_adm: AudioLDM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Graded:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    return Graded(adm=tiny_adm, what={"n": 512}, probes=[], rows=[])


def _plan(verdict: str, bits: int) -> QuantConfig:
    return QuantConfig(name=verdict, rules=parse_rules(f"denoiser.* = w{bits} optional\n* = keep"))


def _final() -> PlanBench:
    def clips_name(plan: QuantPlan) -> str:
        return plan.sha256

    return cast("PlanBench", SimpleNamespace(clips_name=clips_name))


def test_a_plan_is_scored_once_and_says_whether_its_method_is_answered(graded: Graded) -> None:
    fails, holds = _plan("inferior", 3), _plan("non-inferior", 4)
    for _ in range(2):
        assert not graded.score("nearest", 0, fails, _final())
        assert graded.score("nearest", 1, holds, _final())
    assert graded.asked == ["inferior", "non-inferior"]
    assert records.earlier("lowest", {"n": 512})["rows"] == graded.rows


def test_another_ladder_takes_the_place_of_the_one_that_was_climbed(graded: Graded) -> None:
    graded.score("MSE", 0, _plan("non-inferior", 6), _final())
    graded.score("nearest", 0, _plan("inferior", 3), _final())
    graded.score("nearest", 1, _plan("non-inferior", 4), _final())
    graded.score("nearest", 0, _plan("not resolved", 2), _final())
    kept = [(row["method"], row["rung"], row["verdict"]) for row in graded.rows]
    assert kept == [("MSE", 0, "non-inferior"), ("nearest", 0, "not resolved")]


def test_a_method_of_which_no_plan_passes_keeps_a_row_that_says_so(graded: Graded) -> None:
    assert graded.score("nearest", 0, None, _final()), "there is nothing left to ask"
    assert graded.rows == [{"method": "nearest", "rung": 0, "clips": None}]
    assert not graded.asked
