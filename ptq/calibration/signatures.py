"""What a denoiser state does to the layers: the measure by which states are alike or extreme."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptq.calibration.replay import OnInput, Replay, watching
from ptq.context import current_step
from ptq.errors import CalibrationError
from ptq.layer_spec import DENOISER, LayerInfo
from ptq.layers import get_layer, inventory
from ptq.observers import even_stride
from ptq.quantize import weight_rows
from ptq.quantized_layer import channel_axis

_SAMPLED = 4096
_TAIL = 0.999
_MOST_KURTOSIS = 100.0
_TINY = 1e-12
_COMPONENTS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Signatures:
    """What each of a set of states does to the layers of the denoiser.

    Attributes:
        shapes: Log of peak, 99.9th percentile, deviation and kurtosis of each site's input,
            ``(states, sites, 4)``.
        peaks: Largest magnitude of each input channel, by site, ``(states, channels)``.
        middle: Mean of each input channel of the site in the middle, ``(states, channels)``.
        sensitivity: Norm of the weights that each input channel meets, by site, ``(channels,)``.
    """

    shapes: NDArray[np.float32]
    peaks: Mapping[str, NDArray[np.float32]]
    middle: NDArray[np.float32]
    sensitivity: Mapping[str, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.shapes)

    def of(self, states: NDArray[np.int64]) -> "Signatures":
        """The signatures of some of the states, by their places ``(n,)``."""
        return replace(
            self,
            shapes=self.shapes[states],
            peaks={name: peaks[states] for name, peaks in self.peaks.items()},
            middle=self.middle[states],
        )

    def features(self) -> NDArray[np.float32]:
        """Standardised shapes on their main axes, rows of unit length ``(states, axes)``."""
        flat = self.shapes.reshape(len(self), -1).astype(np.float64)
        spread = flat.std(axis=0)
        scaled = (flat - flat.mean(axis=0))[:, spread > _TINY] / spread[spread > _TINY]
        left, values, _ = np.linalg.svd(scaled, full_matrices=False)
        axes = (left * values)[:, :_COMPONENTS]
        length = np.linalg.norm(axes, axis=1, keepdims=True)
        unit: NDArray[np.float32] = (axes / np.maximum(length, _TINY)).astype(np.float32)
        return unit


Measure = Callable[[NDArray[np.int64]], Signatures]


def measure_signatures(replay: Replay) -> Signatures:
    """Run states through a model and describe what its denoiser's layers are given.

    Both guidance branches count: of peaks the larger one, of everything else the mean.

    Raises:
        CalibrationError: If a layer is given what is not finite, or none can be watched.
        Cancelled: As soon as the replay is told to stop.
    """
    parts = replay.adm.parts()
    sites = [
        info
        for info in inventory(parts, replay.adm.splits())
        if info.part == DENOISER and info.kind.has_weight and info.kind.has_input and not info.idle
    ]
    places = {
        (row, step): index
        for index, (row, step) in enumerate(
            zip(replay.states.rows.tolist(), replay.states.steps.tolist(), strict=True)
        )
    }
    middle = _middle([info.name for info in sites])
    watched = {info.name: _SiteObserver(info, places, info.name == middle) for info in sites}
    watchers: dict[str, OnInput] = dict(watched)
    with watching(parts, watchers):
        replay({DENOISER})
    seen = {name: observer for name, observer in watched.items() if observer.channels}
    if middle not in seen:
        raise CalibrationError(
            "The denoiser has no layer to describe states by; choose them by another strategy, such"
            " as uniform."
        )
    for name, observer in seen.items():
        if not (np.isfinite(observer.peaks).all() and np.isfinite(observer.shapes).all()):
            raise CalibrationError(
                f"{name} is given values that are not finite; calibrate in float32, or on other"
                " prompts."
            )
    return Signatures(
        shapes=np.stack([observer.shapes for observer in seen.values()], axis=1),
        peaks={name: observer.peaks for name, observer in seen.items()},
        middle=seen[middle].means,
        sensitivity={
            info.name: _channel_norms(
                weight_rows(get_layer(parts, info.name), info), seen[info.name].channels, info
            )
            for info in sites
            if info.name in seen
        },
    )


def _middle(names: Sequence[str]) -> str:
    """The site that stands for what the denoiser makes of a state as a whole."""
    deepest = [name for name in names if "mid_block" in name and "conv" in name]
    return (deepest or names[len(names) // 2 :] or [""])[0]


def _channel_norms(rows: Tensor, channels: int, info: LayerInfo) -> NDArray[np.float32]:
    if info.grouped or info.weight_shape[1] != channels:  # transposed: all channels alike
        return np.ones(channels, dtype=np.float32)
    squares = rows.float().square().reshape(len(rows), channels, -1)
    found: NDArray[np.float32] = squares.sum(dim=(0, 2)).sqrt().cpu().numpy()
    return found


class _SiteObserver:
    """Fills in the rows of one site, state by state."""

    def __init__(
        self, info: LayerInfo, places: Mapping[tuple[int, int], int], in_the_middle: bool
    ) -> None:
        self._axis, self._places = channel_axis(info.kind), places
        self._in_the_middle = in_the_middle
        self.channels = 0
        self.shapes = np.zeros((len(places), 4), dtype=np.float32)
        self.peaks = np.zeros((len(places), 0), dtype=np.float32)
        self.means = self.peaks

    def __call__(self, values: Tensor) -> None:
        context = current_step()
        if context is None or len(values) != len(context.sample_ids):
            return  # a layer whose rows are no states, such as one of a shared embedding
        flat = values.detach().float().movedim(self._axis, 1).flatten(2 if values.ndim > 2 else 1)
        flat = flat.reshape(len(values), flat.shape[1], -1)
        if not self.channels:
            self.channels = flat.shape[1]
            self.peaks = np.zeros((len(self._places), self.channels), dtype=np.float32)
            if self._in_the_middle:
                self.means = np.zeros_like(self.peaks)
        rows = [self._places[sample, context.step] for sample in context.sample_ids]
        branches = len(rows) // len(set(rows))
        np.maximum.at(self.peaks, rows, flat.abs().amax(dim=2).cpu().numpy())
        np.add.at(self.shapes, rows, _shapes(flat).cpu().numpy() / branches)
        if self._in_the_middle:
            np.add.at(self.means, rows, flat.mean(dim=2).cpu().numpy() / branches)


def _shapes(flat: Tensor) -> Tensor:
    """Peak, tail, deviation and kurtosis, all as logarithms ``(rows, 4)``."""
    magnitudes = flat.flatten(1)
    thinned = magnitudes[:, :: even_stride(magnitudes.shape[1], _SAMPLED, flat.shape[2])]
    kth = max(1, round(_TAIL * thinned.shape[1]))
    tail = thinned.abs().kthvalue(kth, dim=1).values
    centred = thinned - thinned.mean(dim=1, keepdim=True)
    variance = centred.square().mean(dim=1)
    kurtosis = centred.pow(4).mean(dim=1) / variance.square().clamp(min=_TINY)
    peak = magnitudes.abs().amax(dim=1)
    columns = (peak, tail, variance.sqrt(), kurtosis.clamp(max=_MOST_KURTOSIS))
    return torch.stack([column.clamp(min=_TINY).log() for column in columns], dim=1)
