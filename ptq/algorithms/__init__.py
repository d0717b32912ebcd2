"""Published methods that turn a weight into integers, one file each.

A range search sees a matrix whose rows each get one scale; ``quantize_weight`` cuts a layer's
weight into such rows and puts the pieces together again.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from ptq.affine import QParams, quantize
from ptq.algorithms.hqq import hqq_qparams
from ptq.algorithms.mse import mse_qparams
from ptq.algorithms.rtn import rtn_qparams
from ptq.errors import LayerError
from ptq.scheme import Granularity, RangeSearch, WeightScheme
from ptq.weights import QuantizedWeight

__all__ = ["RANGE_SEARCHES", "RangeSearchFunction", "quantize_weight"]


class RangeSearchFunction(Protocol):
    """Chooses one scale, exact in float16, for each row of a matrix."""

    def __call__(self, rows: Tensor, *, bits: int, symmetric: bool) -> QParams:
        """Return scales and zero points of shape (rows, 1) for ``rows`` (rows, columns)."""
        ...


RANGE_SEARCHES: Mapping[RangeSearch, RangeSearchFunction] = MappingProxyType(
    {
        RangeSearch.MIN_MAX: rtn_qparams,
        RangeSearch.MSE: mse_qparams,
        RangeSearch.HQQ: hqq_qparams,
    }
)


def quantize_weight(
    rows: Tensor, scheme: WeightScheme, columns: Sequence[int] | None = None
) -> QuantizedWeight:
    """Quantize a weight by rounding to nearest within the ranges that the scheme asks for.

    Args:
        rows: weight as a matrix, one row for each output channel.
        scheme: with a concrete group size if it is per group.
        columns: widths of the pieces that never share a per-tensor scale (a split input).

    Raises:
        LayerError: for values that are not finite, or groups that do not divide a row.
    """
    if not torch.isfinite(rows).all():
        raise LayerError("the weight has values that are not finite; load the model again.")
    pieces = list(columns or (rows.shape[1],))
    if scheme.granularity is not Granularity.PER_TENSOR:
        return _quantize_blocks(rows, scheme, _block_width(rows, scheme))
    parts = [_quantize_tensor(piece, scheme) for piece in torch.split(rows, pieces, dim=1)]
    zero_points = [part.zero_point for part in parts if part.zero_point is not None]
    return QuantizedWeight(
        codes=torch.cat([part.codes for part in parts], dim=1),
        scale=torch.cat([part.scale for part in parts], dim=1),
        zero_point=torch.cat(zero_points, dim=1) if zero_points else None,
        blocks=tuple(pieces),
    )


def _block_width(rows: Tensor, scheme: WeightScheme) -> int:
    width = scheme.group_size or rows.shape[1]
    if rows.shape[1] % width:
        raise LayerError(
            f"groups of {width} do not divide rows of {rows.shape[1]};"
            " resolve the plan again for this model."
        )
    return width


def _quantize_tensor(piece: Tensor, scheme: WeightScheme) -> QuantizedWeight:
    flat = _quantize_blocks(piece.reshape(1, -1), scheme, piece.numel())
    return QuantizedWeight(
        codes=flat.codes.reshape(piece.shape),
        scale=flat.scale,
        zero_point=flat.zero_point,
        blocks=(piece.shape[1],),
    )


def _quantize_blocks(rows: Tensor, scheme: WeightScheme, width: int) -> QuantizedWeight:
    count = rows.shape[1] // width
    blocks = rows.detach().float().reshape(-1, width)
    search = RANGE_SEARCHES[scheme.range_search]
    qparams = search(blocks, bits=scheme.bits, symmetric=scheme.symmetric)
    shape = (rows.shape[0], count)
    zero_point = None if scheme.symmetric else qparams.zero_point.to(torch.uint8).reshape(shape)
    return QuantizedWeight(
        codes=quantize(blocks, qparams).reshape(rows.shape),
        scale=qparams.scale.half().reshape(shape),
        zero_point=zero_point,
        blocks=(width,) * count,
    )
