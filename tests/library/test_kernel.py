"""KAD and KID: published values, closed form, unbiasedness."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ptq.errors import MetricError
from ptq.metrics import kernel, kernel_audio_distance, kernel_inception_distance, median_distance

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "kernel" / "distances.json").read_text()
)
Array = NDArray[np.float64]
ROW, COLUMN = np.mgrid[1:41, 1:9]
REFERENCE: Array = np.asarray(np.sin(0.7 * ROW * COLUMN) + 0.1 * COLUMN)
ESTIMATE: Array = np.asarray(np.cos(0.5 * ROW * (COLUMN + 1)) - 0.05 * COLUMN)


# The published values add 1e-8 to 2h² and take the median in float32.
GOLDEN_RTOL = 5e-8


def test_golden_bandwidth_is_the_median_of_the_reference() -> None:
    assert median_distance(REFERENCE) == pytest.approx(GOLDEN["median_reference"], rel=GOLDEN_RTOL)
    assert median_distance(ESTIMATE) == pytest.approx(GOLDEN["median_estimate"], rel=GOLDEN_RTOL)


def test_golden_kad() -> None:
    assert kernel_audio_distance(REFERENCE, ESTIMATE, bandwidth=1.0) == pytest.approx(
        GOLDEN["kad_bandwidth_1"], rel=GOLDEN_RTOL
    )
    assert kernel_audio_distance(REFERENCE, ESTIMATE) == pytest.approx(
        GOLDEN["kad_median_reference"], rel=GOLDEN_RTOL
    )
    assert kernel_audio_distance(
        REFERENCE, ESTIMATE, bandwidth=median_distance(ESTIMATE)
    ) == pytest.approx(GOLDEN["kad_median_estimate"], rel=GOLDEN_RTOL)


def test_golden_kid() -> None:
    assert kernel_inception_distance(REFERENCE, ESTIMATE) == pytest.approx(GOLDEN["kid"], rel=1e-9)


def test_blocks_do_not_change_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kernel_audio_distance(REFERENCE, ESTIMATE)
    monkeypatch.setattr(kernel, "BLOCK_ROWS", 7)
    assert kernel_audio_distance(REFERENCE, ESTIMATE) == pytest.approx(whole, rel=1e-12)


def test_large_references_take_the_median_of_a_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).standard_normal((600, 4))
    whole = median_distance(rows)
    monkeypatch.setattr(kernel, "MEDIAN_ROWS", 200)
    subset = median_distance(rows)
    assert subset != whole
    assert subset == pytest.approx(whole, rel=0.05)


def test_kad_estimates_the_closed_form_of_two_gaussians() -> None:
    dim, gap2, s1, s2 = 3, 0.25, 1.0, 1.5

    def expected_kernel(variance: float, distance2: float) -> float:
        return float((1.0 + variance) ** (-dim / 2) * np.exp(-distance2 / (2.0 * (1.0 + variance))))

    truth = expected_kernel(2 * s1**2, 0.0) + expected_kernel(2 * s2**2, 0.0)
    truth -= 2.0 * expected_kernel(s1**2 + s2**2, gap2)
    assert truth == pytest.approx(0.04832481701, rel=1e-9)
    rng = np.random.default_rng(1)
    shift = np.array([0.5, 0.0, 0.0])
    values = [
        kernel_audio_distance(
            s1 * rng.standard_normal((100, dim)),
            s2 * rng.standard_normal((100, dim)) + shift,
            bandwidth=1.0,
        )
        / 100.0
        for _ in range(100)
    ]
    assert abs(np.mean(values) - truth) < 3.0 * np.std(values) / np.sqrt(len(values))


def test_kad_of_one_distribution_is_zero_on_average_and_not_clipped() -> None:
    rng = np.random.default_rng(2)
    values = [
        kernel_audio_distance(rng.standard_normal((60, 4)), rng.standard_normal((60, 4)))
        for _ in range(60)
    ]
    assert min(values) < 0.0
    assert abs(np.mean(values)) < 3.0 * np.std(values) / np.sqrt(len(values))


@pytest.mark.parametrize(
    ("estimate", "bandwidth", "message"),
    [
        (ESTIMATE[:1], None, "rows"),
        (ESTIMATE[:, :5], None, "columns"),
        (ESTIMATE * np.nan, None, "NaN"),
        (ESTIMATE, 0.0, "bandwidth"),
        (ESTIMATE, float("nan"), "bandwidth"),
    ],
)
def test_bad_input_raises(estimate: Array, bandwidth: float | None, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        kernel_audio_distance(REFERENCE, estimate, bandwidth=bandwidth)


def test_a_reference_of_equal_clips_has_no_bandwidth() -> None:
    with pytest.raises(MetricError, match="all equal"):
        median_distance(np.ones((10, 3)))


def test_paired_banks_that_are_equal_have_no_distance() -> None:
    rows = np.random.default_rng(0).standard_normal((1500, 6))  # more than one block
    assert kernel_audio_distance(rows, rows, paired=True) == pytest.approx(0.0, abs=1e-9)
    assert kernel_audio_distance(rows, rows) < -0.01
    assert kernel_audio_distance(rows, 0.8 * rows, paired=True) > 0.1
    with pytest.raises(MetricError, match="one of each per pair"):
        kernel_audio_distance(rows, rows[1:], paired=True)
