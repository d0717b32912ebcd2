"""What calibration remembers of the input of a layer: range, histogram and moments.

Ranges and histograms are kept for each half of a split input and for each timestep bucket, moments
for each input channel. A histogram spans exactly the range seen so far; when the range grows, the
old counts are spread over the new bins, evenly within each old bin.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import gcd

import torch
from torch import Tensor

from ptq.affine import along
from ptq.errors import CalibrationError

BINS = 256
# Values of one call that enter the histogram: range and moments use all.
SAMPLED = 16_384
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerStats:
    """Statistics of the input of one layer.

    Attributes:
        low: smallest value, never above zero, float64 (halves, buckets).
        high: largest value, never below zero, float64 (halves, buckets).
        count: values seen, float64 (halves, buckets); 0 marks a bucket without data.
        histogram: counts in 256 equal bins from ``low`` to ``high``, (halves, buckets, 256); of
            large inputs an even sample is counted, and scaled up.
        channel_mean: E[x] of each input channel, float64 (channels,).
        channel_second_moment: E[x²] of each input channel, float64 (channels,).
        channel_peak: max |x| of each input channel, float32 (buckets, channels).
        balance: what each input channel was divided by before all of this, float32 (channels,);
            empty where it was not.
    """

    low: Tensor
    high: Tensor
    count: Tensor
    histogram: Tensor
    channel_mean: Tensor
    channel_second_moment: Tensor
    channel_peak: Tensor
    balance: Tensor

    @property
    def halves(self) -> int:
        """1, or 2 for a split input: hidden first, skip second."""
        return self.low.shape[0]

    @property
    def buckets(self) -> int:
        """Equal parts of the trajectory with statistics of their own."""
        return self.low.shape[1]

    def merged(self, buckets: int) -> "LayerStats":
        """Return the statistics of fewer, larger buckets.

        Raises:
            CalibrationError: when ``buckets`` does not divide those that were observed.
        """
        if self.buckets % buckets:
            raise CalibrationError(
                f"{self.buckets} observed timestep buckets cannot be merged to {buckets};"
                " observe a multiple of it."
            )
        width = self.buckets // buckets
        shape = (self.halves, buckets, width)
        low = self.low.reshape(shape).amin(dim=2)
        high = self.high.reshape(shape).amax(dim=2)
        spread = rebin(
            self.histogram,
            (self.low, self.high),
            (low.repeat_interleave(width, dim=1), high.repeat_interleave(width, dim=1)),
        )
        return LayerStats(
            low=low,
            high=high,
            count=self.count.reshape(shape).sum(dim=2),
            histogram=spread.reshape(*shape, BINS).sum(dim=2),
            channel_mean=self.channel_mean,
            channel_second_moment=self.channel_second_moment,
            channel_peak=self.channel_peak.reshape(buckets, width, -1).amax(dim=1),
            balance=self.balance,
        )


CalibrationStats = Mapping[str, LayerStats]


class LayerObserver:
    """Collects ``LayerStats`` from one batch after the other.

    Args:
        channel_axis: where the input channels are, 1 for convolutions and −1 for linear layers.
        split: channel where the hidden half of a concatenated input ends.
        buckets: equal parts of the trajectory to keep apart.
        balance: what input channels are divided by first, (channels,).
    """

    def __init__(
        self,
        *,
        channel_axis: int,
        split: int | None = None,
        buckets: int = 1,
        balance: Tensor | None = None,
    ) -> None:
        shape = (1 if split is None else 2, buckets)
        self._axis, self._split = channel_axis, split
        self._low = torch.zeros(shape, dtype=torch.float64)
        self._high = torch.zeros(shape, dtype=torch.float64)
        self._count = torch.zeros(shape, dtype=torch.float64)
        self._histogram = torch.zeros((*shape, BINS), dtype=torch.float64)
        self._sum: Tensor | None = None
        self._squares: Tensor | None = None
        self._peaks: Tensor | None = None
        self._balance = balance
        self._positions = 0

    @torch.no_grad()
    def update_(self, values: Tensor, bucket: int = 0) -> None:
        """Take in the input of one call, of any shape and floating dtype.

        Raises:
            CalibrationError: for values that are not finite.
        """
        values = values.detach().float()
        if self._balance is not None:
            values = values / along(self._balance.to(values), values, self._axis)
        self._update_moments_(values, bucket)
        channels = values.shape[self._axis]
        sizes = [channels] if self._split is None else [self._split, channels - self._split]
        for half, piece in enumerate(torch.split(values, sizes, dim=self._axis)):
            self._update_histogram_(piece, half, bucket)

    @property
    def has_data(self) -> bool:
        """Whether anything was seen yet."""
        return self._positions > 0

    def result(self) -> LayerStats:
        """Return what was seen so far.

        Raises:
            CalibrationError: when nothing was seen.
        """
        if self._sum is None or self._squares is None or self._peaks is None:
            raise CalibrationError(
                "a layer saw no data during calibration; check that the model runs it, or keep it."
            )
        return LayerStats(
            low=self._low.clone(),
            high=self._high.clone(),
            count=self._count.clone(),
            histogram=self._histogram.clone(),
            channel_mean=self._sum / self._positions,
            channel_second_moment=self._squares / self._positions,
            channel_peak=self._peaks.clone(),
            balance=torch.empty(0) if self._balance is None else self._balance,
        )

    def _update_moments_(self, values: Tensor, bucket: int) -> None:
        axis = self._axis % values.ndim
        others = [dim for dim in range(values.ndim) if dim != axis]
        total = values.sum(dim=others).double().cpu()
        squares = values.square().sum(dim=others).double().cpu()
        # A NaN or an infinity anywhere shows in the sums: no pass over the values for it.
        if not torch.isfinite(squares).all():
            raise CalibrationError(
                "a layer saw values that are not finite; calibrate in float32 or drop the sample."
            )
        self._sum = total if self._sum is None else self._sum + total
        self._squares = squares if self._squares is None else self._squares + squares
        if self._peaks is None:
            self._peaks = torch.zeros((self._low.shape[1], values.shape[axis]))
        peaks = values.abs().amax(dim=others).cpu()
        self._peaks[bucket] = torch.maximum(self._peaks[bucket], peaks)
        self._positions += values.numel() // values.shape[axis]

    def _update_histogram_(self, piece: Tensor, half: int, bucket: int) -> None:
        at = (half, bucket)
        low, high = (bound.double().cpu() for bound in piece.aminmax())
        old = (self._low[at].clone(), self._high[at].clone())
        new = (torch.minimum(old[0], low), torch.maximum(old[1], high))
        sample = _thinned(piece)
        counts = _count(sample, float(new[0]), float(new[1])) * (piece.numel() / sample.numel())
        if self._count[at] > 0:
            counts += rebin(self._histogram[at], old, new)
        self._low[at], self._high[at] = new
        self._histogram[at] = counts
        self._count[at] += piece.numel()


def _thinned(values: Tensor) -> Tensor:
    """Return an even sample of a large tensor; range and moments use every value."""
    flat = values.flatten()
    return flat[:: even_stride(flat.numel(), SAMPLED, values.shape[-1])]


def even_stride(values: int, wanted: int, period: int) -> int:
    """Return a stride that leaves about ``wanted`` of many values, evenly over a period.

    A stride with a factor of the period would see the same few channels of every token, or the
    same few bands of every frame.
    """
    stride = max(1, values // wanted)
    while gcd(stride, period) > 1:
        stride += 1
    return stride


def _count(values: Tensor, low: float, high: float) -> Tensor:
    """Return counts in equal bins; rounding of the edges to float32 must not lose a value."""
    if high - low < _TINY:
        counts = torch.zeros(BINS, dtype=torch.float64)
        counts[0] = values.numel()
        return counts
    index = ((values - low) * (BINS / (high - low))).long().clamp_(0, BINS - 1)
    return torch.bincount(index.flatten(), minlength=BINS).double().cpu()


def rebin(histogram: Tensor, old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]) -> Tensor:
    """Return counts over a wider range, each old bin spread evenly over what it covers.

    Args:
        histogram: counts, shape (…, 256).
        old: low and high end of its range, each of shape (…).
        new: the range wanted, which contains the old one.
    """
    width = (old[1] - old[0]).clamp(min=_TINY).unsqueeze(-1)
    steps = torch.linspace(0.0, 1.0, BINS + 1, dtype=torch.float64)
    edges = new[0].unsqueeze(-1) + steps * (new[1] - new[0]).unsqueeze(-1)
    position = ((edges - old[0].unsqueeze(-1)) / width * BINS).clamp(0.0, BINS)
    position[..., -1] = BINS
    cumulative = torch.nn.functional.pad(histogram.cumsum(dim=-1), (1, 0))
    left = position.floor().clamp(max=BINS - 1).long()
    inside = cumulative.gather(-1, left) + histogram.gather(-1, left) * (position - left)
    return inside.diff(dim=-1)


def stats_to_tensors(stats: CalibrationStats) -> dict[str, Tensor]:
    """Return statistics as named tensors, ready for a safetensors file."""
    return {
        f"{name}/{field.name}": getattr(layer, field.name)
        for name, layer in stats.items()
        for field in fields(layer)
    }


def stats_from_tensors(tensors: Mapping[str, Tensor]) -> dict[str, LayerStats]:
    """Read what ``stats_to_tensors`` wrote.

    Raises:
        CalibrationError: when a tensor is missing or unknown.
    """
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, field = key.rpartition("/")
        layers.setdefault(name, {})[field] = tensor
    wanted = {field.name for field in fields(LayerStats)}
    for name, found in layers.items():
        if found.keys() != wanted:
            raise CalibrationError(
                f"the statistics of '{name}' hold {sorted(found)} instead of {sorted(wanted)};"
                " calibrate again."
            )
    return {name: LayerStats(**found) for name, found in layers.items()}
