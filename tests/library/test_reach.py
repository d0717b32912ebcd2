"""What a chosen set of states reaches, beside random ones."""

import numpy as np
import pytest

from ptq.adms.audioldm import AudioLDM
from ptq.adms.sampling import SamplingSettings
from ptq.calibration.coverage import Outliers, coverage_figures, random_range_coverage
from ptq.calibration.probe import NOT_MEASURED, Probe
from ptq.calibration.replay import Replay
from ptq.calibration.states import StateRecorder, StateSet, all_states
from ptq.errors import CalibrationError
from tests.calibrations import made_up


def test_random_sets_are_told_site_by_site_and_as_a_whole() -> None:
    found = made_up()
    found.peaks["site0"][:] = 1.0
    by_site = random_range_coverage(found, 5, seed=3)
    assert by_site["site0"] == 1.0, "any state reaches it"
    assert by_site["site1"] < 0.9, "few do"
    whole = coverage_figures(found, np.arange(5), seed=3)
    assert np.mean(list(by_site.values())) == pytest.approx(whole["random_range_mean"], abs=1e-4)


def test_where_nothing_stands_out_no_share_is_claimed() -> None:
    flat = made_up()
    for peaks in flat.peaks.values():
        peaks[:] = 1.0
    assert Outliers.of(flat).coverage(np.array([0])) is None
    assert "outlier_channels" not in coverage_figures(flat, np.array([0, 1]), seed=0)


def test_a_choice_that_compared_nothing_is_compared_once_with_some_of_all(
    tiny_adm: AudioLDM, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SamplingSettings(steps=2, guidance=2.5, seconds=0.64)
    pool = StateRecorder(adm=tiny_adm, settings=settings, seed=1).record(["rain falls", "a bell"])
    asked: list[int] = []

    def replayed(states: StateSet) -> Replay:
        asked.append(len(states))
        return Replay(adm=tiny_adm, states=states)

    monkeypatch.setattr("ptq.calibration.probe.MOST_COMPARED", 3)
    probe = Probe(pool=pool, next_replay=replayed)
    one = probe.reach(np.array([[1, 1]]), seed=0)
    assert 0.0 < one.figures["range_least"] <= one.figures["range_mean"] < 1.0
    assert set(one.sites) == set(one.random_sites)
    probe.reach(np.array([[1, 1]]), seed=0)
    assert asked == [3]
    everything = Probe(pool=pool, next_replay=replayed).reach(all_states(pool), seed=0)
    assert set(everything.sites.values()) == {1.0}
    assert asked == [3, 4], "those that were chosen are all there"

    def nothing_to_watch(_: Replay) -> None:
        raise CalibrationError("no layer")

    monkeypatch.setattr("ptq.calibration.probe.measure_signatures", nothing_to_watch)
    unseen = Probe(pool=pool, next_replay=replayed).reach(all_states(pool), seed=0)
    assert unseen is NOT_MEASURED
