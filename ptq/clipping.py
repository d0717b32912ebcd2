"""What static ranges cut off while clips are generated.

Calibration cannot tell: ranges from minimum to maximum hold all that it saw itself. What is counted
is what layers were really given, in every tenth of the denoising.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from ptq.activation import ActivationQuantizer
from ptq.context import current_step
from ptq.layers import named_modules
from ptq.quantized_layer import QuantizedLayer
from ptq.run_folder import RunFolder

PARTS = 10
Counts = Mapping[str, Mapping[str, Sequence[int]]]


@dataclass(frozen=True, kw_only=True)
class Clipping:
    """What a static range cuts off.

    Attributes:
        layer: Whose input it is.
        part: Which tenth of the denoising, from 0; 0 for what runs once.
        share_pct: Per cent of the values, beyond the outermost levels by half a step or more.
    """

    layer: str
    part: int
    share_pct: float


def clippings(counts: Counts) -> dict[str, Clipping]:
    """Return of every layer the tenth of which most was cut off.

    Args:
        counts: As ``ClippingMeter`` has them.
    """
    found = {layer: list(_shares(layer, own)) for layer, own in counts.items()}
    return {
        layer: max(shares, key=lambda clipping: clipping.share_pct)
        for layer, shares in found.items()
        if shares
    }


def _shares(layer: str, own: Mapping[str, Sequence[int]]) -> Iterator[Clipping]:
    for part, (beyond, seen) in enumerate(zip(own["beyond"], own["seen"], strict=True)):
        if seen:
            yield Clipping(layer=layer, part=part, share_pct=100.0 * beyond / seen)


def write_counts(run: RunFolder, bank: str, batch: int, counts: Counts) -> None:
    """Keep what was counted of one batch of a bank's clips, if anything was.

    Args:
        run: Where.
        bank: Name of its folder.
        batch: Number of the batch.
        counts: As ``ClippingMeter`` has them.
    """
    if counts:
        run.write_json(f"{bank}/clipped-{batch:03d}.json", counts)


def read_counts(run: RunFolder, bank: str) -> dict[str, dict[str, list[int]]]:
    """Return what was counted of all of a bank's clips; empty where nothing was.

    Raises:
        CheckpointError: A file is damaged.
    """
    found: dict[str, dict[str, list[int]]] = {}
    for path in sorted((run.path / bank).glob("clipped-*.json")):
        for layer, own in run.read_json(f"{bank}/{path.name}").items():
            sums = found.setdefault(layer, {key: [0] * PARTS for key in own})
            for key, values in own.items():
                sums[key] = [a + b for a, b in zip(sums[key], values, strict=True)]
    return found


class ClippingMeter:
    """Counts values beyond the static ranges of a quantized model, in every tenth, by layer.

    Args:
        parts: The models of the pipeline by name; at full precision there is nothing to count.
    """

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        self._quantizers = {
            name: module.input_quantizer
            for name, module in named_modules(parts)
            if isinstance(module, QuantizedLayer)
            and module.input_quantizer is not None
            and module.input_quantizer.scheme.is_static
        }
        self._counts: dict[str, dict[str, list[int]]] = {}

    def taken(self) -> dict[str, dict[str, list[int]]]:
        """Return values ``beyond`` their range and all that were ``seen`` since last asked."""
        counts, self._counts = self._counts, {}
        return counts

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count for the duration of a ``with`` block."""
        with ExitStack() as hooks:
            for name, quantizer in self._quantizers.items():
                hook = quantizer.register_forward_pre_hook(partial(self._count, name))
                hooks.callback(hook.remove)
            yield

    def _count(self, name: str, quantizer: nn.Module, inputs: tuple[Any, ...]) -> None:
        values, step = inputs[0], current_step()
        if isinstance(quantizer, ActivationQuantizer) and isinstance(values, Tensor):
            empty = {"beyond": [0] * PARTS, "seen": [0] * PARTS}
            own, part = self._counts.setdefault(name, empty), step.bucket(PARTS) if step else 0
            own["beyond"][part] += quantizer.n_beyond(values)
            own["seen"][part] += values.numel()
