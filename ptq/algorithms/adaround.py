"""AdaRound (Nagel et al. 2020, arXiv 2004.10568): rounding up or down is learnt, all at once.

Every weight lies between two neighbouring codes. A soft choice between them is trained on the error
of the layer's output, which for inputs with second moment H is tr(Δ H Δᵀ), together with a pull
towards a hard choice that grows sharper. The paper's rectified sigmoid, regulariser, warm-up and
annealing are kept; its batches of inputs are not needed, since H says all that they would. Three
things differ: inputs are the full-precision model's, not those that quantized layers before
put out, the error is taken before the activation function, and there are hundreds of steps, where
the paper takes thousands.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ptq.affine import code_limits
from ptq.scheme import WeightScheme
from ptq.weights import QuantizedWeight, output_error

ITERATIONS = 300
_RATE = 1e-1
_GAMMA, _ZETA = -0.1, 1.1
_WARM_UP = 0.2
# The exponent of the regulariser: a large one asks only codes that lie near a choice already.
_FIRST_SHARPNESS, _LAST_SHARPNESS = 20.0, 2.0
_PULL = 10.0
_EDGE = 1e-4


def _do_nothing() -> None:
    """The default for ``on_step``."""


def adaround_codes(
    rows: Tensor,
    start: QuantizedWeight,
    scheme: WeightScheme,
    moment: Tensor,
    iterations: int = ITERATIONS,
    on_step: Callable[[], None] = _do_nothing,
) -> QuantizedWeight:
    """Return ``start`` with learnt codes; no output gets worse.

    Args:
        rows: the weight as a matrix (rows, columns).
        start: its rounding to nearest, whose scales and zero points are kept.
        scheme: what ``start`` was made with.
        moment: second moment of the inputs (columns, columns), symmetric.
        iterations: gradient steps.
        on_step: called before each; what it raises ends the training.
    """
    moment = moment.float()
    soft = SoftCodes(rows.float(), start, scheme)
    _train(soft, rows.float(), moment, iterations, on_step)
    return start.improved(soft.hard(), rows, moment)


class SoftCodes:
    """Codes that lie between two neighbours, and stand for the weight itself at first.

    Args:
        rows: the weight as a matrix (rows, columns).
        start: scales and zero points.
        scheme: bits and symmetry.
    """

    def __init__(self, rows: Tensor, start: QuantizedWeight, scheme: WeightScheme) -> None:
        self._scale, self._zero_point = start.grid()
        self._limits = code_limits(scheme.bits, symmetric=scheme.symmetric)
        grid = rows / self._scale
        self._begin(grid.floor(), grid - grid.floor())

    def _begin(self, floor: Tensor, shares: Tensor) -> None:
        self._floor = floor
        inner = ((shares - _GAMMA) / (_ZETA - _GAMMA)).clamp(_EDGE, 1 - _EDGE)
        self.logits = torch.logit(inner).requires_grad_()

    def shares(self) -> Tensor:
        """How far each code lies on the way from the lower neighbour to the upper, 0 to 1."""
        stretched = torch.sigmoid(self.logits) * (_ZETA - _GAMMA) + _GAMMA
        return stretched.clamp(0.0, 1.0)

    def weight(self) -> Tensor:
        """What the soft codes stand for, (rows, columns)."""
        codes = (self._floor + self.shares() + self._zero_point).clamp(*self._limits)
        return (codes - self._zero_point) * self._scale

    def undecided(self, step: int, iterations: int) -> Tensor:
        """How far codes are from a choice, 0 to 1, the more sharply asked the later (eq. 24).

        Zero during the warm-up, in which the error alone decides.
        """
        warm = round(_WARM_UP * iterations)
        if step < warm:
            return torch.zeros(())
        left = 0.5 * (1 + math.cos(math.pi * (step - warm) / (iterations - warm)))
        sharpness = _LAST_SHARPNESS + (_FIRST_SHARPNESS - _LAST_SHARPNESS) * left
        return (1 - (2 * self.shares() - 1).abs().pow(sharpness)).mean()

    @torch.no_grad()
    def hard(self) -> Tensor:
        """The nearer neighbours, as whole numbers (rows, columns)."""
        up = (self.shares() >= 0.5).float()
        return (self._floor + up + self._zero_point).clamp(*self._limits)


def _train(
    soft: SoftCodes,
    rows: Tensor,
    moment: Tensor,
    iterations: int,
    on_step: Callable[[], None],
) -> None:
    optimizer = torch.optim.Adam([soft.logits], lr=_RATE)
    # In units of what rounding to nearest costs on average; the pull, a mean, then fits any layer.
    unit = float(moment.diagonal().mean()) * float(soft._scale.square().mean()) / 12 * rows.numel()
    for step in range(iterations):
        on_step()
        optimizer.zero_grad()
        loss = output_error(rows, soft.weight(), moment).sum() / max(unit, 1e-30)
        loss = loss + _PULL * soft.undecided(step, iterations)
        torch.autograd.backward(loss)
        optimizer.step()
