"""Measures activation statistics: hooks in one context manager, states in, ``LayerStats`` out.

The model that is watched is the full-precision one, also where weights will be quantized: one
calibration serves every plan that evens out the same channels in the same way. What quantized
weights shift beyond a range is cut off, and counted where clips are generated (``ptq.clipping``).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from ptq.calibration.replay import OnInput, Replay, watching
from ptq.context import active_bucket
from ptq.layer_spec import DENOISER, LayerInfo
from ptq.observers import CalibrationStats, LayerObserver
from ptq.quantized_layer import channel_axis

# Bucketed histograms are shown on the page; ten divide the default 20 steps evenly.
DEFAULT_BUCKETS = 10


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What to watch.

    Attributes:
        sites: Layers, from the inventory with its splits.
        buckets: Timestep buckets of the denoiser's layers; other parts have one.
        balances: What the input channels of some layers are divided by first.
    """

    sites: Sequence[LayerInfo]
    buckets: int = DEFAULT_BUCKETS
    balances: Mapping[str, Tensor] = field(default_factory=dict)


@contextmanager
def observing(
    parts: Mapping[str, nn.Module], wanted: Observation
) -> Iterator[dict[str, LayerObserver]]:
    """Watch the inputs of layers; the hooks are gone afterwards, whatever happens."""
    observers: dict[str, LayerObserver] = {}
    watchers: dict[str, OnInput] = {}
    for info in wanted.sites:
        n = wanted.buckets if info.part == DENOISER else 1
        observer = LayerObserver(
            channel_axis=channel_axis(info.kind),
            split=info.split,
            buckets=n,
            balance=wanted.balances.get(info.name),
        )
        observers[info.name] = observer
        watchers[info.name] = _watcher(observer, n)
    with watching(parts, watchers):
        yield observers


def _watcher(observer: LayerObserver, buckets: int) -> OnInput:
    return lambda values: observer.update_(values, active_bucket(buckets))


def observe_states(replay: Replay, wanted: Observation) -> CalibrationStats:
    """Run states through a model and return what its layers saw.

    Both guidance branches pass through the denoiser. The other parts are run only where one of
    their activations is watched.

    Raises:
        Cancelled: As soon as the replay is told to stop.
    """
    watched = tuple(info for info in wanted.sites if info.kind.has_input)
    observation = replace(wanted, sites=watched)
    with observing(replay.adm.parts(), observation) as observers:
        replay({info.part for info in watched})
        # An autoencoder's encoder never runs in generation: it has no statistics, and needs none.
        return {name: seen.result() for name, seen in observers.items() if seen.has_data}
