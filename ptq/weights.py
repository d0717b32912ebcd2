"""Quantized weights as matrices: one row for each output channel, whatever the layer.

A row is the flattened input of an output channel (Cin·kh·kw). Scales lie in a matrix of their own:
one row, or one for each row of weights, and one column for each block of columns that shares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from ptq.layer_spec import LayerKind

_TRANSPOSED = (LayerKind.CONV_TRANSPOSE1D, LayerKind.CONV_TRANSPOSE2D)


@dataclass(frozen=True, kw_only=True)
class QuantizedWeight:
    """Integer codes and what they mean.

    Attributes:
        codes: int8 (symmetric) or uint8 (with zero points), shape (rows, columns).
        scale: float16, shape (rows or 1, blocks).
        zero_point: uint8, same shape as ``scale``; ``None`` when symmetric.
        blocks: columns that each column of ``scale`` serves; they add up to the columns.
    """

    codes: Tensor
    scale: Tensor
    zero_point: Tensor | None
    blocks: tuple[int, ...]

    def dequantize(self) -> Tensor:
        """Return the float32 matrix (rows, columns) that the codes stand for."""
        values = self.codes.to(torch.float32, copy=True)
        if self.zero_point is not None:
            values -= spread(self.zero_point.float(), self.blocks)
        return values.mul_(spread(self.scale.float(), self.blocks))

    def cpu(self) -> "QuantizedWeight":
        """Return the same weight in the CPU's memory."""
        zero_point = None if self.zero_point is None else self.zero_point.cpu()
        return replace(self, codes=self.codes.cpu(), scale=self.scale.cpu(), zero_point=zero_point)

    def grid(self) -> tuple[Tensor, Tensor]:
        """Return scale and zero point of every single weight, float32 (rows, columns)."""
        scale = spread(self.scale.float(), self.blocks).expand(self.codes.shape)
        if self.zero_point is None:
            return scale, torch.zeros_like(scale)
        return scale, spread(self.zero_point.float(), self.blocks).expand(self.codes.shape)

    def improved(self, codes: Tensor, rows: Tensor, moment: Tensor) -> "QuantizedWeight":
        """Take other codes over, row by row, where the output gains by them.

        Args:
            codes: whole numbers (rows, columns), for the same scales and zero points.
            rows: the weight that both stand for (rows, columns).
            moment: second moment of the inputs (columns, columns).
        """
        other = replace(self, codes=codes.to(self.codes.dtype))
        errors = [output_error(rows, w.dequantize(), moment) for w in (other, self)]
        better = (errors[0] < errors[1])[:, None]
        return replace(self, codes=torch.where(better, other.codes, self.codes))


def output_error(rows: Tensor, estimate: Tensor, moment: Tensor) -> Tensor:
    """Return the expected squared error of each output, the diagonal of Δ H Δᵀ, shape (rows,).

    Args:
        rows: the weight as a matrix (rows, columns).
        estimate: what stands for it, same shape.
        moment: second moment of the inputs (columns, columns).
    """
    difference = rows.float() - estimate
    return ((difference @ moment) * difference).sum(dim=1)


def spread(per_block: Tensor, blocks: Sequence[int]) -> Tensor:
    """Repeat each column of (rows, blocks) as often as its block is wide."""
    if len(blocks) == 1:
        return per_block
    if len(set(blocks)) == 1:
        return per_block.repeat_interleave(blocks[0], dim=1)
    return per_block.repeat_interleave(torch.tensor(blocks, device=per_block.device), dim=1)


def to_rows(weight: Tensor, kind: LayerKind, groups: int = 1) -> Tensor:
    """Return a weight as a matrix with one row for each output channel.

    Args:
        weight: as torch stores it: outputs first, but (in, out / groups, …) when transposed.
        kind: of the layer.
        groups: of the convolution.
    """
    if kind in _TRANSPOSED:
        weight = _swap_grouped(weight, groups)
    return weight.reshape(weight.shape[0], -1)


def from_rows(rows: Tensor, shape: Sequence[int], kind: LayerKind, groups: int = 1) -> Tensor:
    """Undo ``to_rows`` for a weight of ``shape``."""
    if kind not in _TRANSPOSED:
        return rows.reshape(tuple(shape))
    inputs, outputs, *kernel = shape
    swapped = rows.reshape(outputs * groups, inputs // groups, *kernel)
    return _swap_grouped(swapped, groups).contiguous()


def row_length(shape: Sequence[int], kind: LayerKind, groups: int = 1) -> int:
    """Return the columns of ``to_rows`` without making them."""
    if kind in _TRANSPOSED:
        return shape[0] // groups * prod(shape[2:])
    return prod(shape[1:])


def _swap_grouped(weight: Tensor, groups: int) -> Tensor:
    """Swap the first two axes within each group of the first: its own inverse."""
    first, second = weight.shape[:2]
    parts = weight.reshape(groups, first // groups, second, *weight.shape[2:]).transpose(1, 2)
    return parts.reshape(groups * second, first // groups, *weight.shape[2:])


def per_channel_columns(per_channel: Tensor, columns: int) -> Tensor:
    """Repeat one number a channel for each of the channel's columns."""
    return per_channel.repeat_interleave(columns // len(per_channel))
