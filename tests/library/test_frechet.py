"""Fréchet distance: published values, exact cases, invariances, bias, influence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from safetensors.numpy import load, save
from scipy import linalg

from ptq.errors import MetricError
from ptq.metrics import (
    ReferenceBank,
    fd_influence,
    frechet_distance,
    half_splits,
    noise_floor,
    split_half_fd,
)

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "frechet" / "distances.json").read_text()
)
Array = NDArray[np.float64]


def waves(n: int, dim: int) -> Array:
    i, j = np.mgrid[1 : n + 1, 1 : dim + 1]
    return np.asarray(np.sin(0.7 * i * j) + 0.1 * j)


def other_waves(n: int, dim: int) -> Array:
    i, j = np.mgrid[1 : n + 1, 1 : dim + 1]
    return np.asarray(np.cos(0.5 * i * (j + 1)) - 0.05 * j)


def gaussian(seed: int, n: int, dim: int = 8) -> Array:
    return np.random.default_rng(seed).standard_normal((n, dim)) / np.sqrt(np.arange(1, dim + 1))


def bank(mean: list[float], covariance: ArrayLike) -> ReferenceBank:
    factor = linalg.cholesky(np.asarray(covariance, dtype=np.float64))
    return ReferenceBank(n=10, mean=np.asarray(mean, dtype=np.float64), factor=factor)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['n']}x{c['dim']}")
def test_golden_distances(case: dict[str, Any]) -> None:
    reference = other_waves(case["n_ref"], case["dim"])
    estimate = waves(case["n"], case["dim"])
    assert frechet_distance(reference, estimate) == pytest.approx(case["fd"], rel=1e-9)
    as_bank = ReferenceBank.from_embeddings(reference)
    assert frechet_distance(as_bank, estimate) == pytest.approx(case["fd"], rel=1e-9)


@pytest.mark.parametrize(
    ("reference", "estimate", "expected"),
    [
        pytest.param(
            bank([0, -1], np.diag([3, 1])),
            bank([1, 0], [[2, 1], [1, 2]]),
            10 - 2 * np.sqrt(14),
            id="two-by-two",
        ),
        pytest.param(
            bank([0] * 5, np.diag([5, 4, 3, 2, 1])),
            bank([0] * 5, np.diag([1, 2, 3, 4, 5])),
            3.742019591016081,
            id="diagonal",
        ),
        pytest.param(
            bank([0] * 6, 4.0 * np.eye(6)), bank([0] * 6, 9.0 * np.eye(6)), 6.0, id="isotropic"
        ),
    ],
)
def test_analytic_gaussians(
    reference: ReferenceBank, estimate: ReferenceBank, expected: float
) -> None:
    assert frechet_distance(reference, estimate) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(50, 8), (5, 8), (300, 16)])
def test_a_set_has_no_distance_to_itself(shape: tuple[int, int]) -> None:
    rows = waves(*shape) + 1e3
    assert frechet_distance(rows, rows) < 1e-10 * rows.var(axis=0).sum()


def test_a_shift_costs_its_squared_length() -> None:
    rows, shift = gaussian(0, 40), np.arange(8) * 0.3
    assert frechet_distance(rows, rows + shift) == pytest.approx(shift @ shift, rel=1e-9)


def test_invariances() -> None:
    x, y = gaussian(1, 60), 1.3 * gaussian(2, 50) + 0.2
    rng = np.random.default_rng(3)
    rotation = linalg.qr(rng.standard_normal((8, 8)))[0]
    expected = pytest.approx(frechet_distance(x, y), rel=1e-9)
    assert frechet_distance(y, x) == expected
    assert frechet_distance(rng.permutation(x), rng.permutation(y)) == expected
    assert frechet_distance(x @ rotation, y @ rotation) == expected
    assert frechet_distance(x + 7.0, y + 7.0) == expected
    assert frechet_distance(3.0 * x, 3.0 * y) / 9.0 == expected


def test_fewer_clips_than_dimensions_agrees_with_more_dimensions_of_zero() -> None:
    x, y = gaussian(4, 30, 8), gaussian(5, 20, 8) + 0.1
    padded = [np.pad(rows, ((0, 0), (0, 100))) for rows in (x, y)]
    assert frechet_distance(*padded) == pytest.approx(frechet_distance(x, y), rel=1e-9)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(8), "shape"),
        (np.zeros((1, 8)), "rows"),
        (np.full((10, 8), np.nan), "NaN"),
        (np.full((10, 8), np.inf), "NaN or infinite"),
        (np.zeros((0, 8)), "empty"),
        (np.zeros((10, 7)), "dimensions"),
    ],
    ids=["1-D", "one row", "nan", "inf", "empty", "other embedder"],
)
def test_bad_embeddings_raise(bad: Array, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        frechet_distance(gaussian(0, 10), bad)


def test_bank_survives_safetensors() -> None:
    estimate, original = gaussian(7, 40), ReferenceBank.from_embeddings(gaussian(6, 90))
    restored = ReferenceBank.from_tensors(load(save(original.to_tensors())))
    assert restored.n == 90
    assert frechet_distance(restored, estimate) == frechet_distance(original, estimate)
    with pytest.raises(MetricError, match="lacks factor, mean"):
        ReferenceBank.from_tensors({"n": np.asarray([3])})


def test_bank_rejects_parts_that_do_not_fit() -> None:
    with pytest.raises(MetricError, match="dim"):
        ReferenceBank(n=5, mean=np.zeros(3), factor=np.eye(4))
    with pytest.raises(MetricError, match="at least 2"):
        ReferenceBank(n=1, mean=np.zeros(4), factor=np.eye(4))


def test_bank_factor_is_the_covariance() -> None:
    rows = gaussian(8, 50)
    factor = ReferenceBank.from_embeddings(rows).factor
    np.testing.assert_allclose(factor.T @ factor, np.cov(rows.T), rtol=1e-9)


@pytest.mark.parametrize(
    ("spectrum", "n", "expected"),
    [
        (np.ones(64), 1000, 2.21),
        (1.0 / np.arange(1, 129), 250, 0.746),
        (1.0 / np.arange(1, 513), 500, 1.443),
    ],
)
def test_noise_floor_matches_the_published_table(spectrum: Array, n: int, expected: float) -> None:
    assert noise_floor(spectrum, n, n) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("dim", [16, 64])
def test_noise_floor_predicts_the_distance_of_two_samples(dim: int) -> None:
    measured = [
        frechet_distance(gaussian(2 * s, 400, dim), gaussian(2 * s + 1, 600, dim))
        for s in range(30)
    ]
    assert np.mean(measured) == pytest.approx(
        noise_floor(1.0 / np.arange(1, dim + 1), 400, 600), rel=0.10
    )


def test_noise_floor_ignores_zero_eigenvalues_and_refuses_negative_ones() -> None:
    assert noise_floor([1.0, 0.5, 0.0], 50, 60) == noise_floor([1.0, 0.5], 50, 60)
    with pytest.raises(MetricError, match="eigenvalue"):
        noise_floor([1.0, -0.1], 50, 60)
    with pytest.raises(MetricError, match="at least 2"):
        noise_floor([1.0], 1, 60)


def test_split_half_removes_the_bias_that_plug_in_has() -> None:
    dim, n = 16, 128
    truth_bank = bank([0.0] * dim, np.diag(1.0 / np.arange(1, dim + 1)))
    truth = dim * 0.1**2 + (1.1 - 1.0) ** 2 * (1.0 / np.arange(1, dim + 1)).sum()
    samples = [1.1 * gaussian(s, n, dim) + 0.1 for s in range(60)]
    plug_in = np.mean([frechet_distance(truth_bank, x) for x in samples])
    corrected = [split_half_fd(truth_bank, x, seed=s) for s, x in enumerate(samples)]
    error = np.std(corrected) / np.sqrt(len(corrected))
    assert plug_in > 1.15 * truth
    assert abs(np.mean(corrected) - truth) < 3.0 * error


def test_split_half_of_two_samples_of_one_gaussian_is_zero_on_average() -> None:
    values = [
        split_half_fd(gaussian(2 * s, 160, 16), gaussian(2 * s + 1, 160, 16)) for s in range(40)
    ]
    assert abs(np.mean(values)) < 3.0 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0.0


def test_split_half_corrects_clustered_clips() -> None:
    def repeated(seed: int) -> Array:
        return np.repeat(1.1 * gaussian(seed, 128, 8) + 0.2, 2, axis=0)

    truth_bank = bank([0.0] * 8, np.diag(1.0 / np.arange(1, 9)))
    truth = 8 * 0.2**2 + 0.1**2 * (1.0 / np.arange(1, 9)).sum()
    prompts = np.repeat(np.arange(128), 2)
    by_prompt = [split_half_fd(truth_bank, repeated(s), clusters=prompts) for s in range(60)]
    assert abs(np.mean(by_prompt) - truth) < 3.0 * np.std(by_prompt) / np.sqrt(60)


def test_splits_are_shared_disjoint_and_keep_prompts_together() -> None:
    prompts = ["rain", "dog", "rain", "bell", "dog", "bell", "wind", "wind"]
    first = half_splits(8, clusters=prompts, splits=4, seed=5)
    second = half_splits(8, clusters=prompts, splits=4, seed=5)
    for (a, b), (c, d) in zip(first, second, strict=True):
        np.testing.assert_array_equal(np.concatenate([a, b]), np.concatenate([c, d]))
        assert sorted([*a, *b]) == list(range(8))
        assert not {prompts[i] for i in a} & {prompts[i] for i in b}
    other = half_splits(8, clusters=prompts, splits=4, seed=6)
    assert any(not np.array_equal(x[0], y[0]) for x, y in zip(first, other, strict=True))


def test_splits_refuse_what_cannot_be_halved() -> None:
    with pytest.raises(MetricError, match="at least 4"):
        half_splits(20, splits=3)
    with pytest.raises(MetricError, match="cannot be halved"):
        half_splits(20, clusters=[0] * 20)
    with pytest.raises(MetricError, match="one per clip"):
        half_splits(20, clusters=[0, 1])


def test_golden_influence() -> None:
    golden = GOLDEN["influence"]
    psi = fd_influence(other_waves(40, 4), waves(40, 4))
    np.testing.assert_allclose(psi[:5], golden["psi"], atol=1e-8)
    assert abs(psi.sum()) < 1e-12


def test_influence_predicts_the_effect_of_weighting_one_clip() -> None:
    reference = ReferenceBank.from_embeddings(other_waves(60, 4))
    rows, step = waves(40, 4), 1e-5

    def weighted_fd(index: int) -> float:
        weights = np.full(40, (1.0 - step) / 40)
        weights[index] += step
        mean = weights @ rows
        factor = np.sqrt(weights)[:, None] * (rows - mean)
        target = ReferenceBank(
            n=60, mean=reference.mean, factor=reference.factor * np.sqrt(59 / 60)
        )
        return frechet_distance(target, ReferenceBank(n=40, mean=mean, factor=factor))

    uniform = np.sqrt(1 / 40) * (rows - rows.mean(axis=0))
    base = frechet_distance(
        ReferenceBank(n=60, mean=reference.mean, factor=reference.factor * np.sqrt(59 / 60)),
        ReferenceBank(n=40, mean=rows.mean(axis=0), factor=uniform),
    )
    psi = fd_influence(reference, rows)
    for index in (0, 7, 39):
        assert (weighted_fd(index) - base) / step == pytest.approx(psi[index], rel=1e-3, abs=1e-3)


def test_influence_is_the_standard_error_of_fd() -> None:
    reference = bank([0.0] * 8, np.diag(1.0 / np.arange(1, 9)))
    samples = [1.2 * gaussian(s, 300) + 0.3 for s in range(150)]
    spread = np.std([frechet_distance(reference, x) for x in samples])
    predicted = np.mean([fd_influence(reference, x).std() for x in samples[:20]]) / np.sqrt(300)
    assert predicted == pytest.approx(spread, rel=0.2)


def test_influence_of_equal_clips_raises() -> None:
    with pytest.raises(MetricError, match="one embedding"):
        fd_influence(gaussian(0, 10), np.ones((6, 8)))
