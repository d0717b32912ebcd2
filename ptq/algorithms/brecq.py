"""BRECQ (Li et al. 2021, arXiv 2102.05426): learn the rounding of a whole block at once.

Layers of a block make up for each other's errors where rounding is learnt on what the block puts
out, instead of layer by layer. The soft choice between two neighbouring codes, its regulariser and
their annealing are AdaRound's; Q-Diffusion (Li et al. 2023, arXiv 2302.04304) uses the same for
diffusion models. The error of a block is its mean square, as there, and not weighted by the Fisher
information of the loss, as BRECQ has it: a diffusion model has no labels. The block's inputs are
those of the full-precision model, and the step sizes of activations are not learnt.

The papers take twenty thousand steps from rounding to nearest. The two hundred that two cores can
afford do not come near GPTQ from there: a block begins with what its layers' own rounding found,
and every code may move to the neighbour on the weight's other side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ptq.algorithms.adaround import SoftCodes
from ptq.scheme import WeightScheme
from ptq.weights import QuantizedWeight

ITERATIONS = 200
_RATE = 5e-2
_PULL = 10.0
# How far a soft code lies on the side of the one that it begins with.
_TRUST = 0.8
_QUIETEST = 1e-30

Call = tuple[tuple[Any, ...], dict[str, Any]]
Run = Callable[[Mapping[str, Tensor], Call], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockLayer:
    """One layer of a block.

    Attributes:
        rows: what the codes have to stand for (rows, columns).
        start: its codes so far.
        scheme: what ``start`` was made with.
    """

    rows: Tensor
    start: QuantizedWeight
    scheme: WeightScheme


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockData:
    """What a block was given and what it said, call by call, in full precision."""

    calls: Sequence[Call]
    outputs: Sequence[Tensor]

    def error(self, run: Run, estimates: Mapping[str, Tensor]) -> float:
        """Mean squared error of the block with other weights, over all calls."""
        with torch.no_grad():
            errors = [
                (run(estimates, call) - output).square().mean()
                for call, output in zip(self.calls, self.outputs, strict=True)
            ]
        return float(torch.stack(errors).mean())


class _MovingCodes(SoftCodes):
    """Codes between those of the start and the neighbours on the weight's other side."""

    def __init__(self, rows: Tensor, start: QuantizedWeight, scheme: WeightScheme) -> None:
        super().__init__(rows, start, scheme)
        codes = start.codes.float() - self._zero_point
        below = codes <= rows / self._scale
        self._begin(torch.where(below, codes, codes - 1), torch.where(below, 1 - _TRUST, _TRUST))


def brecq_codes(
    layers: Mapping[str, BlockLayer],
    data: BlockData,
    run: Run,
    seed: int,
    iterations: int = ITERATIONS,
) -> dict[str, QuantizedWeight]:
    """Return learnt codes of every layer; the block never gets worse.

    Args:
        layers: by name.
        data: calls and outputs of the block.
        run: computes the block with estimates of the layers' rows.
        seed: of the order in which calls are taken.
        iterations: gradient steps.
    """
    soft = {
        name: _MovingCodes(layer.rows.float(), layer.start, layer.scheme)
        for name, layer in layers.items()
    }
    before = data.error(run, {name: layer.start.dequantize() for name, layer in layers.items()})
    _train(soft, data, run, before, seed, iterations)
    found = {
        name: replace(layer.start, codes=soft[name].hard().to(layer.start.codes.dtype))
        for name, layer in layers.items()
    }
    after = data.error(run, {name: weight.dequantize() for name, weight in found.items()})
    return found if after < before else {name: layer.start for name, layer in layers.items()}


def _train(
    soft: Mapping[str, SoftCodes],
    data: BlockData,
    run: Run,
    unit: float,
    seed: int,
    iterations: int,
) -> None:
    logits = [codes.logits for codes in soft.values()]
    optimizer = torch.optim.Adam(logits, lr=_RATE)
    generator = torch.Generator().manual_seed(seed)
    for step in range(iterations):
        index = int(torch.randint(len(data.calls), (1,), generator=generator))
        said = run({name: codes.weight() for name, codes in soft.items()}, data.calls[index])
        loss = (said - data.outputs[index]).square().mean() / max(unit, _QUIETEST)
        undecided = [codes.undecided(step, iterations) for codes in soft.values()]
        loss = loss + _PULL * torch.stack(undecided).sum()
        for parameter, gradient in zip(logits, torch.autograd.grad(loss, logits), strict=True):
            parameter.grad = gradient
        optimizer.step()
