"""Reconstructs the denoiser block by block: rounding that is learnt on what a block puts out."""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ptq.adms.sampling import ShouldStop
from ptq.algorithms.brecq import ITERATIONS, BlockData, BlockLayer, Call, brecq_codes
from ptq.calibration.replay import Replay
from ptq.errors import CalibrationError, Cancelled
from ptq.layer_spec import DENOISER, LayerInfo
from ptq.layers import get_layer
from ptq.observers import CalibrationStats
from ptq.quantize import weight_rows
from ptq.rounding_target import RoundingTarget, rounding_target
from ptq.scheme import WeightScheme
from ptq.weights import QuantizedWeight, from_rows

# Residual and transformer blocks by diffusers' names; other layers are rounded one by one.
_BLOCK = re.compile(rf"({DENOISER}\..*?\.(?:resnets|transformer_blocks)\.\d+)\.")
# Blocks whose inputs and outputs are held at once.
_AT_ONCE = 6


def block_of(layer: str) -> str | None:
    """Name of the block that a layer belongs to, if it belongs to one."""
    match = _BLOCK.match(layer)
    return match.group(1) if match else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """Learns the rounding of the layers that lie in blocks.

    Attributes:
        replay: The full-precision model, and the states that rounding looks at.
        stats: Hold what input channels are divided by, where a scheme balances them.
        seed: Of the order in which states are taken.
        iterations: Gradient steps a block.
    """

    replay: Replay
    stats: CalibrationStats
    seed: int
    iterations: int = ITERATIONS

    def __call__(
        self,
        infos: Sequence[LayerInfo],
        schemes: Mapping[str, WeightScheme],
        starts: Mapping[str, QuantizedWeight],
    ) -> dict[str, QuantizedWeight]:
        """Return the codes of layers, but for those that lie in no block.

        Args:
            infos: The layers.
            schemes: By layer name.
            starts: Codes to begin with, by layer name.

        Raises:
            Cancelled: As soon as the replay is told to stop.
        """
        members: dict[str, list[LayerInfo]] = {}
        for info in infos:
            block = block_of(info.name)
            if block is not None:
                members.setdefault(block, []).append(info)
        found: dict[str, QuantizedWeight] = {}
        for name, data in _recorded(self.replay, tuple(members)):
            targets = {info.name: self._target(info, schemes) for info in members[name]}
            layers = {
                key: BlockLayer(rows=target.rows, start=starts[key], scheme=schemes[key])
                for key, target in targets.items()
            }
            module = get_layer(self.replay.adm.parts(), name)
            run = _Block(name, module, members[name], targets, self.replay.should_stop)
            found |= brecq_codes(layers, data, run, self.seed, self.iterations)
        return found

    def _target(self, info: LayerInfo, schemes: Mapping[str, WeightScheme]) -> RoundingTarget:
        rows = weight_rows(get_layer(self.replay.adm.parts(), info.name), info)
        return rounding_target(rows, schemes[info.name], info, self.stats)


class _Block:
    """A block that is run with other weights than its own."""

    def __init__(
        self,
        name: str,
        module: nn.Module,
        infos: Sequence[LayerInfo],
        targets: Mapping[str, RoundingTarget],
        should_stop: ShouldStop,
    ) -> None:
        self._name, self._should_stop = name, should_stop
        self._module, self._infos, self._targets = module, infos, targets
        self._keys = {info.name: f"{info.name.removeprefix(name + '.')}.weight" for info in infos}

    def __call__(self, estimates: Mapping[str, Tensor], call: Call) -> Tensor:
        if self._should_stop():
            raise Cancelled(f"Stopped while {self._name} was reconstructed.")
        weights = {
            self._keys[info.name]: from_rows(
                self._targets[info.name].effective(estimates[info.name]),
                info.weight_shape,
                info.kind,
            )
            for info in self._infos
        }
        output: Tensor = functional_call(self._module, weights, *call)
        return output


def _recorded(replay: Replay, names: Sequence[str]) -> Iterator[tuple[str, BlockData]]:
    """Every block with what it is given and says, a few at a time."""
    for start in range(0, len(names), _AT_ONCE):
        here = names[start : start + _AT_ONCE]
        calls: dict[str, list[tuple[Call, Tensor]]] = {name: [] for name in here}
        with _recording(replay.adm.parts(), calls):
            replay({DENOISER})
        for name in here:
            if not calls[name]:
                raise CalibrationError(
                    f"{name} saw no data during calibration; round its layers to nearest."
                )
            # Tensors of inference mode take no part in training; their copies do.
            pairs = [(_copied(call), output.clone()) for call, output in calls.pop(name)]
            yield name, BlockData(calls=[p[0] for p in pairs], outputs=[p[1] for p in pairs])


@contextmanager
def _recording(
    parts: Mapping[str, nn.Module], calls: Mapping[str, list[tuple[Call, Tensor]]]
) -> Iterator[None]:
    handles, thread = [], threading.get_ident()
    try:
        for name, kept in calls.items():

            def hook(
                _module: nn.Module,
                args: tuple[object, ...],
                kwargs: dict[str, object],
                output: Tensor,
                kept: list[tuple[Call, Tensor]] = kept,
            ) -> None:
                if threading.get_ident() == thread:  # others may use the same model meanwhile
                    kept.append(((args, dict(kwargs)), output))

            module = get_layer(parts, name)
            handles.append(module.register_forward_hook(hook, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _copied(call: Call) -> Call:
    def copy(value: object) -> object:
        return value.clone() if isinstance(value, torch.Tensor) else value

    args, kwargs = call
    return tuple(map(copy, args)), {key: copy(value) for key, value in kwargs.items()}
