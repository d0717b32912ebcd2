"""GPTQ (Frantar et al., arXiv 2210.17323): rounding that makes up for its own errors.

The columns of a weight are rounded one after the other; what each leaves over is spread over the
columns that are still open, so that the output changes least for inputs with the second moment
H = E[x xᵀ]. Columns with the most energy go first (the paper's *activation order*), in blocks of
128. The scales are given and stay: with groups this is what its authors call static groups. H is of
the full-precision model's inputs, where the paper quantizes layer after layer and takes those that
come out of the quantized ones before: layers are rounded independently here.
"""

import torch
from torch import Tensor

from ptq.affine import code_limits
from ptq.scheme import WeightScheme
from ptq.weights import QuantizedWeight

_BLOCK = 128
# Added to the diagonal, as a share of its mean, and doubled until H can be factorised.
_DAMPING = 0.01
_MOST_DAMPING = 1.0


def gptq_codes(
    rows: Tensor, start: QuantizedWeight, scheme: WeightScheme, moment: Tensor
) -> QuantizedWeight:
    """Return ``start`` with codes whose outputs come closest; no output gets worse.

    Args:
        rows: the weight as a matrix (rows, columns).
        start: its rounding to nearest, whose scales and zero points are kept.
        scheme: what ``start`` was made with.
        moment: second moment of the inputs (columns, columns), symmetric.
    """
    moment = moment.float()
    order = moment.diagonal().argsort(descending=True)
    feedback = _feedback(moment[order][:, order])
    if feedback is None:
        return start
    codes = _round_columns(rows.float()[:, order], _Grid.of(start, scheme, order), feedback)
    return start.improved(codes[:, order.argsort()], rows, moment)


class _Grid:
    """The quantizer of every single weight."""

    def __init__(self, scale: Tensor, zero_point: Tensor, limits: tuple[int, int]) -> None:
        self._scale, self._zero_point, self._limits = scale, zero_point, limits

    @classmethod
    def of(cls, weight: QuantizedWeight, scheme: WeightScheme, order: Tensor) -> "_Grid":
        scale, zero_point = weight.grid()
        limits = code_limits(scheme.bits, symmetric=scheme.symmetric)
        return cls(scale[:, order], zero_point[:, order], limits)

    def code(self, values: Tensor, column: int) -> tuple[Tensor, Tensor]:
        """Codes of one column of values, and the values that they stand for."""
        scale, zero_point = self._scale[:, column], self._zero_point[:, column]
        codes = (values / scale).round_().add_(zero_point).clamp_(*self._limits)
        return codes, (codes - zero_point) * scale


def _round_columns(values: Tensor, grid: _Grid, feedback: Tensor) -> Tensor:
    """Round column by column; errors reach the rest of a block at once, later blocks afterwards."""
    values = values.clone()
    codes = torch.empty_like(values)
    for start in range(0, values.shape[1], _BLOCK):
        stop = min(start + _BLOCK, values.shape[1])
        errors = torch.empty_like(values[:, start:stop])
        for column in range(start, stop):
            row = feedback[column]
            codes[:, column], rounded = grid.code(values[:, column], column)
            error = (values[:, column] - rounded) / row[column]
            values[:, column:stop] -= error[:, None] * row[column:stop]
            errors[:, column - start] = error
        values[:, stop:] -= errors @ feedback[start:stop, stop:]
    return codes


def _feedback(moment: Tensor) -> Tensor | None:
    """The upper Cholesky factor of the inverse of the damped second moment, if it has one.

    With the order of rows and columns turned round, it is the inverse of the moment's own factor,
    which takes half the work of inverting first and factorising then.
    """
    damped = moment.double()
    energies = damped.diagonal()
    live = energies > 0
    if not live.any():
        return None
    mean = float(energies[live].mean())
    # An input that is always zero ties its weight to nothing.
    energies[~live] = mean
    share = added = _DAMPING
    while share <= _MOST_DAMPING:
        damped.diagonal().add_(added * mean)
        factor, failed = torch.linalg.cholesky_ex(damped.flip(0, 1))
        if not failed:
            eye = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
            inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
            found: Tensor = inverse.flip(0, 1).float()
            return found
        share, added = 2 * share, share
    return None
