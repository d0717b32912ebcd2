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

# In per cent, with half of the interval: 5 % are out of reach, just so (p = 0.03), or exceeded.
_RISES = {"holds": (0.0, 1.0), "barely": (0.0, 5.2), "fails": (9.0, 1.0)}


@dataclass(frozen=True, kw_only=True)
class Graded(Results):
    """Stands in for 512 pairs of clips: how far FD rises is written in a plan's name."""

    asked: list[str] = field(default_factory=list)

    def _scores(self, config: QuantConfig, final: PlanBench) -> dict[str, Any]:
        del final
        self.asked.append(config.name)
        rise, half = _RISES[config.name.partition(",")[0]]
        interval = [rise - half, rise + half]
        verdict = "non-inferior" if rise < 5.0 else "inferior"
        return {"n": 512, "verdict": verdict, "increase_pct": rise, "ci95_pct": interval}


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
    fails, holds = _plan("fails", 3), _plan("holds", 4)
    for _ in range(2):
        assert not graded.score("nearest", 0, fails, _final())
        assert graded.score("nearest", 1, holds, _final())
    assert graded.asked == ["fails", "holds"]
    assert records.earlier("lowest", {"n": 512})["rows"] == graded.rows


def test_another_ladder_takes_the_place_of_the_one_that_was_climbed(graded: Graded) -> None:
    graded.score("MSE", 0, _plan("holds", 6), _final())
    graded.score("nearest", 0, _plan("fails", 3), _final())
    graded.score("nearest", 1, _plan("holds", 4), _final())
    graded.score("nearest", 0, _plan("barely", 2), _final())
    kept = [(row["method"], row["rung"], row["increase_pct"]) for row in graded.rows]
    assert [row[:2] for row in kept] == [("MSE", 0), ("nearest", 0)]
    assert graded.asked[-1] == "barely"


def test_a_method_of_which_no_plan_passes_keeps_a_row_that_says_so(graded: Graded) -> None:
    assert graded.score("nearest", 0, None, _final()), "there is nothing left to ask"
    assert graded.rows == [{"method": "nearest", "rung": 0, "clips": None}]
    assert not graded.asked


def test_what_holds_alone_but_not_among_others_is_asked_again_higher(graded: Graded) -> None:
    plans = {
        "nearest": (_plan("barely, nearest", 3), _plan("holds, nearest", 4)),
        "MSE": (_plan("barely, MSE", 5), _plan("holds, MSE", 6), _plan("holds, never", 8)),
    }
    rows = graded.climb(plans, dict.fromkeys(plans, _final()))
    assert graded.asked == ["barely, nearest", "barely, MSE", "holds, MSE", "holds, nearest"]
    held = {(row["method"], row["rung"]): row["holds"] for row in rows}
    assert [held["nearest", 0], held["nearest", 1]] == [False, True]
    assert [held["MSE", 0], held["MSE", 1]] == [False, True]
