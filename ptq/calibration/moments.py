"""Second moments of what layers multiply their weights with: what output-aware rounding needs."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptq.calibration.replay import Replay, watching
from ptq.errors import CalibrationError
from ptq.layer_spec import LayerInfo, LayerKind
from ptq.layers import get_layer
from ptq.observers import even_stride
from ptq.quantized_layer import EDGES

# What is held at once; what does not fit takes another replay.
MOST_BYTES = 2 << 30
_FLOAT_BYTES = 4
# Rows of one sample that are taken in; neighbours on a spectrogram say nearly the same.
_ROWS = 512
# Columns that are multiplied at once with all from there on: half of a symmetric matrix is enough.
_STRIP = 256


def input_rows(layer: nn.Module, kind: LayerKind, values: Tensor) -> Tensor:
    """Return what one output value is the product of, row by row: (rows, columns).

    A linear layer multiplies each token, a convolution each window of its padded input, flattened
    as (channels, height, width), which is the order of its weight.

    Args:
        layer: a linear layer or an ungrouped convolution.
        kind: of the layer.
        values: its input.
    """
    if kind is LayerKind.LINEAR:
        return values.reshape(-1, values.shape[-1])
    pads = getattr(layer, EDGES)
    mode = layer.padding_mode if layer.padding_mode != "zeros" else "constant"
    padded = F.pad(values, pads, mode=str(mode)) if any(pads) else values
    if kind is LayerKind.CONV1D:
        padded = padded.unsqueeze(2)
    kernel, dilation, stride = (
        (1, *getattr(layer, name))[-2:] for name in ("kernel_size", "dilation", "stride")
    )
    windows = F.unfold(padded, kernel, dilation=dilation, stride=stride)
    return windows.transpose(1, 2).reshape(-1, windows.shape[1])


class MomentObserver:
    """Adds up E[x xᵀ] of one layer's input, shape (columns, columns)."""

    def __init__(self, layer: nn.Module, info: LayerInfo) -> None:
        self._layer, self._info = layer, info
        self._sum = torch.zeros((info.row, info.row), device=next(layer.parameters()).device)
        self._count = 0

    def __call__(self, values: Tensor) -> None:
        """Take in the input of one call, a few samples at once: windows take many times its memory.

        Samples of few rows are taken in together, for every product passes over the whole moment.
        """
        channels = values.shape[-1 if self._info.kind is LayerKind.LINEAR else 1]
        rows_of_one = values.numel() // (len(values) * channels)
        for samples in torch.split(values.detach().float(), max(1, _ROWS // rows_of_one)):
            rows = input_rows(self._layer, self._info.kind, samples)
            rows = rows[:: even_stride(len(rows), _ROWS, len(rows))]
            for start in range(0, self._info.row, _STRIP):
                strip = self._sum[start : start + _STRIP, start:]
                strip.addmm_(rows[:, start : start + _STRIP].T, rows[:, start:])
            self._count += len(rows)

    def result(self) -> Tensor:
        """Return the mean of what was seen; nothing can be taken in afterwards.

        Raises:
            CalibrationError: when nothing was seen, or values were not finite.
        """
        if not self._count or not torch.isfinite(self._sum.diagonal()).all():
            raise CalibrationError(
                f"{self._info.name} saw no data, or values that are not finite, during calibration;"
                " round its weight to nearest."
            )
        upper = self._sum.div_(self._count).triu_()
        return upper.add_(upper.triu(1).T)


def observe_moments(replay: Replay, sites: Sequence[LayerInfo]) -> Mapping[str, Tensor]:
    """Run states through a model and return the second moment of each site's input.

    Raises:
        Cancelled: As soon as the replay is told to stop.
    """
    parts = replay.adm.parts()
    observers = {info.name: MomentObserver(get_layer(parts, info.name), info) for info in sites}
    with watching(parts, observers):
        replay({info.part for info in sites})
    return {name: observer.result() for name, observer in observers.items()}


def each_moment(
    replay: Replay, sites: Sequence[LayerInfo], most_bytes: int = MOST_BYTES
) -> Iterator[tuple[LayerInfo, Tensor]]:
    """Yield every site with the second moment of its input.

    Args:
        replay: States and model.
        sites: Layers that calibration reaches.
        most_bytes: What moments may take at once; states are replayed as often as this demands,
            and one layer is always taken.

    Raises:
        Cancelled: As soon as the replay is told to stop.
    """
    for batch in _batches(sites, most_bytes):
        moments = observe_moments(replay, batch)
        for info in batch:
            yield info, moments[info.name]


def _batches(sites: Sequence[LayerInfo], most_bytes: int) -> Iterator[list[LayerInfo]]:
    batch: list[LayerInfo] = []
    held = 0
    for info in sites:
        size = info.row**2 * _FLOAT_BYTES
        if batch and held + size > most_bytes:
            yield batch
            batch, held = [], 0
        batch.append(info)
        held += size
    if batch:
        yield batch
