"""What observers remember, and the ranges that follow from it."""

import pytest
import torch
from torch import Tensor

from ptq.errors import CalibrationError
from ptq.observers import LayerObserver, LayerStats, stats_from_tensors, stats_to_tensors
from ptq.ranges import clip_at, expected_error, static_qparams
from ptq.scheme import ActivationScheme, RangeSearch


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def observe(*batches: Tensor, axis: int = -1, split: int | None = None) -> LayerStats:
    observer = LayerObserver(channel_axis=axis, split=split)
    for batch in batches:
        observer.update_(batch)
    return observer.result()


def test_range_counts_and_moments_match_the_whole() -> None:
    batches = [normal(20, 8, seed=seed) * (1 + seed) for seed in range(5)]
    stats, whole = observe(*batches), torch.cat(batches).double()
    assert float(stats.low) == float(whole.min())
    assert float(stats.high) == float(whole.max())
    assert float(stats.count) == whole.numel()
    assert torch.allclose(stats.histogram.sum(), torch.tensor(float(whole.numel())).double())
    assert torch.allclose(stats.channel_mean, whole.mean(dim=0), atol=1e-6)
    assert torch.allclose(stats.channel_second_moment, whole.square().mean(dim=0), rtol=1e-5)


def test_range_always_includes_zero() -> None:
    stats = observe(normal(50, 4).abs() + 3)
    assert float(stats.low) == 0.0


def test_convolution_channels_are_the_second_axis() -> None:
    values = normal(2, 3, 5, 7)
    stats = observe(values, axis=1)
    assert torch.allclose(stats.channel_mean.float(), values.mean(dim=(0, 2, 3)), atol=1e-6)


def test_percentiles_survive_a_growing_range() -> None:
    batches = [normal(4000, 4, seed=seed) * scale for seed, scale in enumerate((0.1, 1.0, 3.0))]
    whole = torch.cat(batches).flatten().double()
    low, high = clip_at(observe(*batches), 99.0)
    bin_width = float(whole.max() - whole.min()) / 256
    assert float(low) == pytest.approx(float(whole.quantile(0.01)), abs=bin_width)
    assert float(high) == pytest.approx(float(whole.quantile(0.99)), abs=bin_width)


def test_order_of_batches_keeps_count_and_range() -> None:
    a, b = normal(100, 4), normal(100, 4, seed=1) * 5
    first, second = observe(a, b), observe(b, a)
    assert torch.equal(first.low, second.low)
    assert torch.allclose(first.histogram.sum(), second.histogram.sum())


def test_halves_are_kept_apart() -> None:
    values = torch.cat([normal(6, 4), normal(6, 2) * 100], dim=1)
    stats = observe(values, split=4)
    assert stats.low.shape == (2, 1)
    assert float(stats.high[0]) == float(values[:, :4].max())
    assert float(stats.high[1]) == float(values[:, 4:].max())
    assert stats.channel_mean.shape == (6,)


def test_buckets_merge_to_what_one_bucket_sees() -> None:
    fine, coarse = (LayerObserver(channel_axis=-1, buckets=n) for n in (4, 2))
    for bucket in range(4):
        batch = normal(200, 4, seed=bucket) * (bucket + 1)
        fine.update_(batch, bucket)
        coarse.update_(batch, bucket // 2)
    merged, seen = fine.result().merged(2), coarse.result()
    assert torch.equal(merged.low, seen.low)
    assert torch.equal(merged.high, seen.high)
    assert torch.equal(merged.count, seen.count)
    assert torch.allclose(merged.histogram.sum(dim=-1), seen.histogram.sum(dim=-1))
    # Bins of different widths are not added one by one: percentiles are those of all values.
    for percentile in (90.0, 99.0):
        for found, whole in zip(
            clip_at(merged, percentile), clip_at(seen, percentile), strict=True
        ):
            assert torch.allclose(found, whole, rtol=0.02), percentile
    with pytest.raises(CalibrationError, match=r"4 observed.*to 3"):
        fine.result().merged(3)


def test_bad_values_are_refused() -> None:
    observer = LayerObserver(channel_axis=-1)
    with pytest.raises(CalibrationError, match="not finite"):
        observer.update_(torch.tensor([[1.0, torch.inf]]))
    with pytest.raises(CalibrationError, match="no data"):
        observer.result()


def test_tensors_round_trip() -> None:
    stats = {"denoiser.a": observe(normal(5, 4)), "denoiser.b.c": observe(normal(5, 6), split=2)}
    tensors = stats_to_tensors(stats)
    again = stats_from_tensors(tensors)
    assert again.keys() == stats.keys()
    assert torch.equal(again["denoiser.b.c"].histogram, stats["denoiser.b.c"].histogram)
    del tensors["denoiser.a/low"]
    with pytest.raises(CalibrationError, match=r"denoiser\.a"):
        stats_from_tensors(tensors)


def test_constant_zero_input_has_a_range() -> None:
    qparams = static_qparams(observe(torch.zeros(4, 4)), ActivationScheme(bits=8))
    assert float(qparams.scale) > 0


def test_min_max_range_covers_everything() -> None:
    values = normal(500, 4)
    qparams = static_qparams(observe(values), ActivationScheme(bits=8))
    low = (0 - qparams.zero_point) * qparams.scale
    high = (255 - qparams.zero_point) * qparams.scale
    assert float(low) <= float(values.min()) + 0.51 * float(qparams.scale)
    assert float(high) >= float(values.max()) - 0.51 * float(qparams.scale)


@pytest.mark.parametrize(
    "scheme",
    [
        ActivationScheme(bits=4, range_search=RangeSearch.MSE),
        ActivationScheme(bits=4, range_search=RangeSearch.PERCENTILE, percentile=99.99),
    ],
)
def test_searches_clip_outliers(scheme: ActivationScheme) -> None:
    values = normal(50_000, 4)
    values[0, 0] = 60.0
    stats = observe(values)
    full = static_qparams(stats, ActivationScheme(bits=4))
    assert float(static_qparams(stats, scheme).scale) < 0.3 * float(full.scale)


def test_expected_error_predicts_the_measured_one() -> None:
    values = normal(20_000, 4)
    stats = observe(values)
    low, high = torch.tensor([[-2.5]]).double(), torch.tensor([[2.5]]).double()
    step = 5.0 / 255
    rounded = (values.double().clamp(-2.5, 2.5) / step).round() * step
    measured = float((values.double() - rounded).square().sum())
    assert float(expected_error(stats, low, high, 8)) == pytest.approx(measured, rel=0.05)


def test_empty_buckets_borrow_from_the_nearest() -> None:
    observer = LayerObserver(channel_axis=-1, buckets=4)
    observer.update_(normal(50, 4), 0)
    observer.update_(normal(50, 4) * 10, 3)
    scale = static_qparams(observer.result(), ActivationScheme(bits=8, timestep_buckets=4)).scale
    assert float(scale[0, 1]) == float(scale[0, 0])
    assert float(scale[0, 2]) == float(scale[0, 3])
    assert float(scale[0, 3]) > 5 * float(scale[0, 0])


def test_unsigned_ranges_start_at_zero() -> None:
    stats = observe(torch.rand(10, 10, generator=torch.Generator().manual_seed(0)))
    qparams = static_qparams(stats, ActivationScheme(bits=8, unsigned=True))
    assert float(qparams.zero_point) == 0.0


def test_every_channel_of_a_token_layer_enters_the_histogram() -> None:
    """Each channel has a level of its own, so that a channel left out is a bin left empty."""
    channels = 192
    values = torch.arange(channels, dtype=torch.float32).expand(4, 64, channels).contiguous()
    observer = LayerObserver(channel_axis=-1, split=None, buckets=1)
    observer.update_(values, 0)
    assert int((observer.result().histogram > 0).sum()) == channels
