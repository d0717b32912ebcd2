"""From observed statistics to static activation ranges, one for each half and timestep bucket.

A range for every part of the trajectory is what TDQ (So et al. 2023, arXiv 2306.02316) and TFMQ-DM
(Huang et al. 2024, arXiv 2311.16503) have: learnt from the time there, a table of equal parts here.
Halves of a concatenated input with ranges of their own are those of Q-Diffusion (Li et al. 2023,
arXiv 2302.04304), which splits shortcuts alone; here each layer that is given both halves is split.
"""

import torch
from torch import Tensor

from ptq.affine import QParams, choose_qparams
from ptq.errors import CalibrationError
from ptq.observers import BINS, LayerStats
from ptq.scheme import ActivationScheme, RangeSearch

MSE_PERCENTILES = (100.0, 99.999, 99.99, 99.9, 99.5, 99.0)


def static_qparams(stats: LayerStats, scheme: ActivationScheme) -> QParams:
    """Return scales and zero points of shape (halves, buckets), float32.

    A bucket that calibration never reached takes the range of the nearest one that it did.

    Raises:
        CalibrationError: when the buckets do not fit, or a half saw no data at all.
    """
    merged = stats.merged(scheme.timestep_buckets)
    low, high = _search(merged, scheme)
    source = nearest_filled(merged.count)
    low, high = low.gather(1, source), high.gather(1, source)
    if scheme.unsigned:
        low = torch.zeros_like(low)
    return choose_qparams(low, high, bits=scheme.bits, symmetric=False)


def noise_power(stats: LayerStats, scheme: ActivationScheme) -> Tensor:
    """Return the expected squared error of one value of each half, over all buckets, (halves,).

    Dynamic ranges are never wider than the whole range seen, which is taken in their place.
    """
    merged = stats.merged(scheme.timestep_buckets)
    errors = expected_error(merged, *_search(merged, scheme), scheme.bits)
    return errors.sum(dim=1) / merged.count.sum(dim=1)


def nearest_filled(count: Tensor) -> Tensor:
    """Return for each bucket the index of the nearest one with data, shape (halves, buckets).

    Raises:
        CalibrationError: when a half has none.
    """
    filled = count > 0
    if not filled.any(dim=1).all():
        raise CalibrationError("a layer has statistics without data; calibrate again.")
    buckets = torch.arange(count.shape[1])
    distance = (buckets[:, None] - buckets[None, :]).abs().double()
    reachable = distance.expand(len(count), -1, -1).masked_fill(~filled[:, None, :], torch.inf)
    return reachable.argmin(dim=2)


def clip_at(stats: LayerStats, percentile: float) -> tuple[Tensor, Tensor]:
    """Return the range that leaves (100 − percentile) % of the values outside at each end."""
    if percentile >= 100.0:
        return stats.low, stats.high
    tail = 1.0 - percentile / 100.0
    low, high = _quantile(stats, tail), _quantile(stats, 1.0 - tail)
    return low.clamp(max=0.0), high.clamp(min=0.0)


def expected_error(stats: LayerStats, low: Tensor, high: Tensor, bits: int) -> Tensor:
    """Return the expected squared error of a range: s²/12 inside, clipping outside.

    The histogram has about as many bins as an 8-bit quantizer has levels, so that rounding its bin
    centres would measure nothing; rounding error is therefore taken as uniform.
    """
    width = (stats.high - stats.low).unsqueeze(-1) / BINS
    centres = stats.low.unsqueeze(-1) + (torch.arange(BINS, dtype=torch.float64) + 0.5) * width
    clipped = centres.clamp(low.unsqueeze(-1), high.unsqueeze(-1)) - centres
    step = (high - low) / (2**bits - 1)
    inside = ((clipped == 0) * stats.histogram).sum(dim=-1)
    rounding: Tensor = inside * step.square() / 12
    return rounding + (clipped.square() * stats.histogram).sum(dim=-1)


def _search(stats: LayerStats, scheme: ActivationScheme) -> tuple[Tensor, Tensor]:
    if scheme.range_search is RangeSearch.MIN_MAX:
        return stats.low, stats.high
    if scheme.range_search is RangeSearch.PERCENTILE:
        return clip_at(stats, scheme.percentile)
    candidates = [clip_at(stats, percentile) for percentile in MSE_PERCENTILES]
    errors = torch.stack([expected_error(stats, *ends, scheme.bits) for ends in candidates])
    best = errors.argmin(dim=0, keepdim=True)
    low = torch.stack([ends[0] for ends in candidates]).gather(0, best).squeeze(0)
    high = torch.stack([ends[1] for ends in candidates]).gather(0, best).squeeze(0)
    return low, high


def _quantile(stats: LayerStats, fraction: float) -> Tensor:
    """Return the value below which ``fraction`` of the data lies, linear within a bin."""
    cumulative = stats.histogram.cumsum(dim=-1)
    target = cumulative[..., -1:] * fraction
    index = torch.searchsorted(cumulative, target).clamp(max=BINS - 1)
    counts = stats.histogram.gather(-1, index)
    before = cumulative.gather(-1, index) - counts
    position = index + (target - before) / counts.clamp(min=1e-12)
    return stats.low + position.squeeze(-1) * (stats.high - stats.low) / BINS
