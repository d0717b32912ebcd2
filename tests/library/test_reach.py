"""What a chosen set of states reaches, beside random ones."""

import numpy as np
import pytest

from ptq.calibration.coverage import Outliers, coverage_figures, random_range_coverage
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
