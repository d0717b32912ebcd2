"""Half-quadratic quantization (HQQ, Badri and Shaji 2023): a range without data or search.

The error W − Ŵ is asked to be sparse, Σ|W − Ŵ|^p with p < 1, so that few large weights do not
widen the grid of the many. Half-quadratic splitting alternates between the errors E, which have a
closed form (a shrinkage), and the grid, which then is a least-squares problem. The reference
implementation solves for a real zero point and keeps the scale; the zero points of our files are
whole numbers, so it is the scale that is solved for. Large weights are clipped for that, and where
weights have no heavy tails, the squared error is larger than with the full range: ask for ``mse``
where it is what counts.
"""

import torch
from torch import Tensor

from ptq.affine import QParams, half_ceil
from ptq.algorithms.rtn import rtn_qparams

EXPONENT = 0.7
ITERATIONS = 10
_PENALTY = 10.0
_GROWTH = 1.01
_TINY = 1e-12
# The splitting ends near where it begins; it begins at several parts of the full range.
_STARTS = (1.0, 0.7, 0.5, 0.35, 0.2)


def hqq_qparams(rows: Tensor, *, bits: int, symmetric: bool) -> QParams:
    """Return the scale of each row of ``rows`` (rows, columns) with the sparsest error found."""
    start = rtn_qparams(rows, bits=bits, symmetric=symmetric)
    # In units of each row's typical weight: the penalty then means the same for every layer.
    unit = rows.float().abs().mean(dim=1, keepdim=True).clamp(min=_TINY)
    values, full = rows.float() / unit, start.scale / unit
    best, best_loss = full, _loss(values, _codes(values, full, start), full)
    for share in _STARTS:
        scale, penalty = full * share, _PENALTY
        for _ in range(ITERATIONS):
            codes = _codes(values, scale, start)
            sparse = _shrunk(values - codes * scale, penalty)
            scale = _least_squares(codes, values - sparse, scale)
            loss = _loss(values, _codes(values, scale, start), scale)
            best = torch.where(loss < best_loss, scale, best)
            best_loss = torch.minimum(loss, best_loss)
            penalty *= _GROWTH
    return QParams(
        scale=half_ceil((best * unit).clamp(max=start.scale)),
        zero_point=start.zero_point,
        quant_min=start.quant_min,
        quant_max=start.quant_max,
    )


def _codes(values: Tensor, scale: Tensor, grid: QParams) -> Tensor:
    """Whole numbers with the zero point taken off."""
    codes = (values / scale).round_().add_(grid.zero_point)
    return codes.clamp_(grid.quant_min, grid.quant_max).sub_(grid.zero_point)


def _shrunk(error: Tensor, penalty: float) -> Tensor:
    """The generalised soft threshold for |·|^p: what of an error is better paid than fitted."""
    magnitude = error.abs()
    kept = magnitude - magnitude.clamp(min=_TINY).pow(EXPONENT - 1) / penalty
    return error.sign() * kept.clamp(min=0.0)


def _least_squares(codes: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    power = codes.square().sum(dim=1, keepdim=True)
    found = (codes * target).sum(dim=1, keepdim=True) / power.clamp(min=1.0)
    return torch.where((power > 0) & (found > 0), found, scale)


def _loss(values: Tensor, codes: Tensor, scale: Tensor) -> Tensor:
    error = (values - codes * scale).abs_()
    return error.pow_(EXPONENT).sum(dim=1, keepdim=True)
