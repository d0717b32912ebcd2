"""A verdict that every gate can flip, and that nothing missing can pass."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from ptq.errors import MetricError
from ptq.metrics import Evidence, Verdict, judge

GOOD = Evidence(
    n=1024,
    dim=128,
    lower95_pct=-0.4,
    upper95_pct=2.1,
    self_fd_upper_pct=1.5,
    text_score_lower_pct=-0.8,
    divergence_index=0.3,
    new_silent=0,
    new_clipped=0,
    new_nan=0,
    family_increase_pct={"animal": 3.0, "music": -1.0},
)


def test_all_gates_passed_is_non_inferior() -> None:
    judgement = judge(GOOD)
    assert judgement.verdict is Verdict.NON_INFERIOR
    assert judgement.reasons == ()


@pytest.mark.parametrize(
    ("change", "figure"),
    [
        ({"upper95_pct": 5.0}, "upper bound of the FD increase is 5 %"),
        ({"self_fd_upper_pct": 6.25}, "6.25 %"),
        ({"text_score_lower_pct": -2.5}, "-2.5 %, below -2 %"),
        ({"divergence_index": 0.62}, "divergence index is 0.62, above 0.5"),
        ({"new_silent": 1}, "new silent clips is 1"),
        ({"new_clipped": 2}, "new clipped clips is 2"),
        ({"new_nan": 3}, "new NaN clips is 3"),
        ({"family_increase_pct": {"animal": 3.0, "music": 18.0}}, "family music is 18 %"),
    ],
)
def test_every_gate_flips_the_verdict(change: dict[str, Any], figure: str) -> None:
    judgement = judge(dataclasses.replace(GOOD, **change))
    assert judgement.verdict is Verdict.NOT_RESOLVED
    assert len(judgement.reasons) == 1
    assert figure in judgement.reasons[0]


@pytest.mark.parametrize(
    "name",
    [f.name for f in dataclasses.fields(Evidence) if f.name not in {"n", "dim", "lower95_pct"}],
)
def test_a_missing_figure_never_passes(name: str) -> None:
    missing: Any = {"music": None} if name == "family_increase_pct" else None
    judgement = judge(dataclasses.replace(GOOD, **{name: missing}))
    assert judgement.verdict is Verdict.NOT_RESOLVED
    assert "not measured" in judgement.reasons[0]


def test_no_sound_family_is_a_missing_figure() -> None:
    judgement = judge(dataclasses.replace(GOOD, family_increase_pct={}))
    assert judgement.verdict is Verdict.NOT_RESOLVED


@pytest.mark.parametrize(
    "change",
    [
        {"text_score_lower_pct": -2.0},
        {"divergence_index": 0.5},
        {"family_increase_pct": {"music": 15.0}},
        {"n": 4 * 128},
        {"upper95_pct": 4.999},
    ],
)
def test_limits_that_still_pass(change: dict[str, Any]) -> None:
    assert judge(dataclasses.replace(GOOD, **change)).verdict is Verdict.NON_INFERIOR


def test_an_increase_surely_beyond_the_margin_is_inferior() -> None:
    judgement = judge(dataclasses.replace(GOOD, lower95_pct=5.1, upper95_pct=9.0))
    assert judgement.verdict is Verdict.INFERIOR
    assert "at least 5.10 %" in judgement.reasons[0]
    at_margin = judge(dataclasses.replace(GOOD, lower95_pct=5.0, upper95_pct=9.0))
    assert at_margin.verdict is Verdict.NOT_RESOLVED


@pytest.mark.parametrize("lower", [-0.4, 30.0])
def test_too_few_clips_never_resolve(lower: float) -> None:
    judgement = judge(dataclasses.replace(GOOD, n=511, lower95_pct=lower))
    assert judgement.verdict is Verdict.NOT_RESOLVED
    assert "511 prompts are fewer than 4 × 128" in judgement.reasons[0]


@pytest.mark.parametrize(
    "change", [{"upper95_pct": np.nan}, {"family_increase_pct": {"a": np.nan}}]
)
def test_nan_is_no_evidence(change: dict[str, Any]) -> None:
    with pytest.raises(MetricError, match="is NaN"):
        dataclasses.replace(GOOD, **change)
