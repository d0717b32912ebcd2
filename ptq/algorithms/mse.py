"""Search of the clipping range: shrink it step by step and keep the least error.

As in Q-Diffusion (Li et al., arXiv 2302.04304) and BRECQ: both ends of the range shrink together by
p ∈ {1.00, 0.99, …, 0.21}, and the p that minimises Σ|w − ŵ|^2.4 wins. Weights count alike: what
their inputs are like is left to rounding by data.

The loss never gets below the error of the clipped values alone, which only grows as the range
shrinks. A row whose clipping error has passed its best loss is therefore finished, as most rows
are after half of the steps; the result is that of the full search.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ptq.affine import QParams, half_ceil
from ptq.algorithms.rtn import rtn_qparams

EXPONENT = 2.4
SHRINKS = tuple(1.0 - step / 100 for step in range(80))
_CHUNK_VALUES = 1 << 17  # what a core keeps in its cache
_PRUNE_EVERY = 5


@dataclass
class _Search:
    """The rows that are still searched, and the best of all."""

    values: Tensor  # (active, columns)
    start: QParams  # scales of the active rows
    active: Tensor  # (active,) their index among all rows
    best_loss: Tensor  # (rows, 1)
    best_scale: Tensor  # (rows, 1)

    def try_shrink_(self, shrink: float) -> None:
        """Keep the scale that ``shrink`` gives wherever it lowers the loss."""
        scale = half_ceil(self.start.scale * shrink)
        grid = torch.addcmul(self.start.zero_point, self.values, scale.reciprocal())
        error = grid.round().clamp_(self.start.quant_min, self.start.quant_max).sub_(grid)
        loss = _power_sum(error.abs_()) * scale**EXPONENT
        best = self.best_loss[self.active]
        better = loss < best
        self.best_loss[self.active] = torch.where(better, loss, best)
        self.best_scale[self.active] = torch.where(better, scale, self.best_scale[self.active])

    def prune_(self, shrink: float) -> None:
        """Drop the rows whose clipping error alone exceeds their best loss."""
        scale, zero_point = half_ceil(self.start.scale * shrink), self.start.zero_point
        low = (self.start.quant_min - zero_point) * scale
        high = (self.start.quant_max - zero_point) * scale
        clipped = torch.maximum(torch.minimum(self.values, high), low).sub_(self.values).abs_()
        open_ = (_power_sum(clipped) <= self.best_loss[self.active]).squeeze(1)
        self.values, self.active = self.values[open_], self.active[open_]
        self.start = QParams(
            scale=self.start.scale[open_],
            zero_point=self.start.zero_point[open_],
            quant_min=self.start.quant_min,
            quant_max=self.start.quant_max,
        )


def mse_qparams(rows: Tensor, *, bits: int, symmetric: bool) -> QParams:
    """Return the scale of each row of ``rows`` (rows, columns) with the least error."""
    start = rtn_qparams(rows, bits=bits, symmetric=symmetric)
    step = max(1, _CHUNK_VALUES // rows.shape[1])
    scales = [
        _search_chunk(rows[i : i + step], _chunk(start, slice(i, i + step)))
        for i in range(0, rows.shape[0], step)
    ]
    return QParams(
        scale=torch.cat(scales),
        zero_point=start.zero_point,
        quant_min=start.quant_min,
        quant_max=start.quant_max,
    )


def _search_chunk(values: Tensor, start: QParams) -> Tensor:
    search = _Search(
        values=values,
        start=start,
        active=torch.arange(values.shape[0], device=values.device),
        best_loss=torch.full_like(start.scale, torch.inf),
        best_scale=start.scale.clone(),
    )
    for index, shrink in enumerate(SHRINKS):
        search.try_shrink_(shrink)
        if index % _PRUNE_EVERY == _PRUNE_EVERY - 1:
            search.prune_(shrink)
        if not search.active.numel():
            break
    return search.best_scale


def _chunk(qparams: QParams, rows: slice) -> QParams:
    return QParams(
        scale=qparams.scale[rows],
        zero_point=qparams.zero_point[rows],
        quant_min=qparams.quant_min,
        quant_max=qparams.quant_max,
    )


def _power_sum(magnitude: Tensor) -> Tensor:
    """Return Σ m^2.4 of each row; 2^(2.4 log2 m) is half the time of ``pow``."""
    return magnitude.log2_().mul_(EXPONENT).exp2_().sum(dim=1, keepdim=True)
