"""What calibration saw at one site, and what a static quantizer makes of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptq.errors import ConfigError
from ptq.observers import BINS, CalibrationStats, LayerStats
from ptq.plan import QuantPlan
from ptq.ranges import static_qparams
from ptq.scheme import ActivationScheme

Array = NDArray[np.float64]
_HALVES = ("", " (hidden half)", " (skip half)")


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteActivations:
    """One layer's input in one timestep bucket.

    Attributes:
        centres: Middle of each bin, (bins,).
        shares: Share of the values in each bin, (bins,).
        low: Smallest value seen.
        high: Largest value seen.
        bits: Of the quantizer; ``None`` where there is no static one.
        levels: Values that it can give, ascending; ``None`` likewise.
        step: Width of a level.
        clipped_pct: Per cent of the values that lie further out than half a step beyond the last
            level; ``None`` where nothing was seen.
    """

    centres: Array
    shares: Array
    low: float
    high: float
    bits: int | None = None
    levels: Array | None = None
    step: float = 0.0
    clipped_pct: float | None = None


def site_names(stats: CalibrationStats) -> tuple[tuple[str, str], ...]:
    """Title and key of every observed site; the halves of a split input are sites of their own."""
    return tuple(_sites(stats))


def _sites(stats: CalibrationStats) -> Iterator[tuple[str, str]]:
    for name, found in stats.items():
        for half in range(found.halves):
            yield f"{name}{_HALVES[half + 1] if found.halves > 1 else ''}", f"{name}#{half}"


def most_telling(stats: CalibrationStats, plan: QuantPlan) -> str:
    """The key of the first site that has a static quantizer, else of the first site.

    Args:
        stats: What calibration saw, of one site at least.
        plan: What was done to every layer.
    """
    static = {spec.name for spec in plan.layers if _static_scheme(plan, spec.name) is not None}
    return f"{next((name for name in stats if name in static), next(iter(stats)))}#0"


def activations_of(
    stats: CalibrationStats, plan: QuantPlan, *, site: str, bucket: int
) -> SiteActivations:
    """The histogram of one site in one bucket, with the levels of its quantizer.

    Args:
        stats: What calibration saw.
        plan: What was done to every layer.
        site: A key of ``site_names``.
        bucket: Part of the trajectory, from 0; a site that knows fewer parts shows its last.

    Raises:
        ConfigError: There is no such site or bucket.
    """
    name, _, half_text = site.partition("#")
    found = stats.get(name)
    half = int(half_text) if half_text.isdigit() else 0
    if found is None or half >= found.halves or bucket < 0:
        raise ConfigError("Calibration has no such layer or timestep bucket; choose another.")
    bucket = min(bucket, found.buckets - 1)
    edges, shares = _histogram(found, half, bucket)
    low, high = float(edges[0]), float(edges[-1])
    centres = (edges[1:] + edges[:-1]) / 2
    scheme = _static_scheme(plan, name)
    if scheme is None:
        return SiteActivations(centres=centres, shares=shares, low=low, high=high)
    levels = _levels(found, scheme, half, bucket)
    step = float(levels[1] - levels[0])
    return SiteActivations(
        centres=centres,
        shares=shares,
        low=low,
        high=high,
        bits=scheme.bits,
        levels=levels,
        step=step,
        clipped_pct=_beyond_pct(edges, shares, levels[0] - step / 2, levels[-1] + step / 2),
    )


def _histogram(stats: LayerStats, half: int, bucket: int) -> tuple[Array, Array]:
    """Edges of the bins, and the share of the values in each."""
    low, high = float(stats.low[half, bucket]), float(stats.high[half, bucket])
    counts = stats.histogram[half, bucket].numpy()
    return np.linspace(low, high, BINS + 1), counts / max(float(counts.sum()), 1.0)


def _beyond_pct(edges: Array, shares: Array, low: float, high: float) -> float | None:
    if not shares.any():
        return None
    inside = _share_below(edges, shares, high) - _share_below(edges, shares, low)
    return 100.0 * max(0.0, 1.0 - inside)


def _static_scheme(plan: QuantPlan, name: str) -> ActivationScheme | None:
    spec = next((spec for spec in plan.layers if spec.name == name), None)
    scheme = spec.scheme.activation if spec is not None else None
    return scheme if scheme is not None and scheme.is_static else None


def _levels(stats: LayerStats, scheme: ActivationScheme, half: int, bucket: int) -> Array:
    params = static_qparams(stats, scheme)
    column = bucket * scheme.timestep_buckets // stats.buckets
    scale, zero = float(params.scale[half, column]), float(params.zero_point[half, column])
    codes = np.arange(params.quant_min, params.quant_max + 1, dtype=np.float64)
    return scale * (codes - zero)


def _share_below(edges: Array, shares: Array, value: float) -> float:
    """Share of the values below ``value``, even within a bin."""
    cumulative = np.concatenate([[0.0], np.cumsum(shares)])
    return float(np.interp(value, edges, cumulative))
