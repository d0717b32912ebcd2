"""Measures activation statistics: hooks in one context manager, states in, ``LayerStats`` out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ptq.adms.base import AudioDiffusionModel, Conditioning
from ptq.adms.sampling import ShouldStop, never_stop, predict
from ptq.calibration.states import Progress, StatePool, no_progress
from ptq.context import StepContext, active_bucket
from ptq.errors import Cancelled
from ptq.layer_spec import DENOISER, LayerInfo
from ptq.layers import get_layer
from ptq.modules import channel_axis
from ptq.observers import CalibrationStats, LayerObserver

# Bucketed histograms are shown on the page; ten divide the default 20 steps evenly.
DEFAULT_BUCKETS = 10


@contextmanager
def observing(
    parts: Mapping[str, nn.Module], sites: Sequence[LayerInfo], buckets: int
) -> Iterator[dict[str, LayerObserver]]:
    """Watch the inputs of layers; the hooks are gone afterwards, whatever happens.

    Args:
        parts: The model's parts.
        sites: Layers to watch, from the inventory with its splits.
        buckets: Timestep buckets of the denoiser's layers; other parts have one.
    """
    observers: dict[str, LayerObserver] = {}
    handles = []
    try:
        for info in sites:
            n = buckets if info.part == DENOISER else 1
            observer = LayerObserver(
                channel_axis=channel_axis(info.kind), split=info.split, buckets=n
            )
            observers[info.name] = observer
            handles.append(get_layer(parts, info.name).register_forward_hook(_hook(observer, n)))
        yield observers
    finally:
        for handle in handles:
            handle.remove()


def _hook(observer: LayerObserver, buckets: int) -> Any:  # noqa: ANN401 - torch's hook type
    def hook(_module: nn.Module, inputs: tuple[torch.Tensor, ...], _output: torch.Tensor) -> None:
        observer.update_(inputs[0], active_bucket(buckets))

    return hook


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What to watch, and how to be told and stopped."""

    sites: Sequence[LayerInfo]
    buckets: int = DEFAULT_BUCKETS
    progress: Progress = no_progress
    should_stop: ShouldStop = never_stop


@torch.inference_mode()
def observe_states(
    adm: AudioDiffusionModel, pool: StatePool, chosen: NDArray[np.int64], wanted: Observation
) -> CalibrationStats:
    """Run states through the model and return what its layers saw.

    Both guidance branches pass through the denoiser. The other parts are run only where one of
    their activations is watched.

    Args:
        adm: The model.
        pool: Recorded trajectories.
        chosen: States as ``(count, 2)`` pairs of prompt and step.
        wanted: What to watch.

    Raises:
        Cancelled: As soon as ``should_stop`` says so.
    """
    watched = [info for info in wanted.sites if info.kind.has_input]
    with observing(adm.parts(), watched, wanted.buckets) as observers:
        times = adm.schedule(pool.settings.steps)
        steps = sorted({int(step) for step in chosen[:, 1]})
        for done, step in enumerate(steps, start=1):
            if wanted.should_stop():
                raise Cancelled(f"Stopped before calibration step {done} of {len(steps)}.")
            rows = torch.from_numpy(chosen[chosen[:, 1] == step, 0])
            context = StepContext(
                step=step, n_steps=len(times), t=times[step], sample_ids=tuple(rows.tolist())
            )
            conditioning = _rows(pool.conditioning, rows)
            predict(adm, pool.inputs[rows, step], conditioning, context, pool.settings.guidance)
            wanted.progress(done, len(steps))
        _run_other_parts(adm, pool, {info.part for info in watched})
        # An autoencoder's encoder never runs in generation: it has no statistics, and needs none.
        return {name: seen.result() for name, seen in observers.items() if seen.has_data}


def _rows(conditioning: Conditioning, rows: torch.Tensor) -> Conditioning:
    return Conditioning(
        cond={key: value[rows] for key, value in conditioning.cond.items()},
        uncond={key: value[rows] for key, value in conditioning.uncond.items()},
    )


def _run_other_parts(adm: AudioDiffusionModel, pool: StatePool, parts: set[str]) -> None:
    if parts & {"text_encoder", "conditioner"}:
        adm.encode(pool.prompts)
    if parts & {"vae", "vocoder"}:
        for latents in pool.finals:
            adm.vocode(adm.decode(latents[None]))
