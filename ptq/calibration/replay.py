"""Runs recorded states through a model once more, for whoever watches its layers."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ptq.adms.base import AudioDiffusionModel, Conditioning
from ptq.adms.sampling import ShouldStop, never_stop, predict
from ptq.calibration.states import Progress, StateSet, no_progress
from ptq.context import StepContext
from ptq.errors import Cancelled
from ptq.layer_spec import DENOISER
from ptq.layers import get_layer

OnInput = Callable[[Tensor], None]


@contextmanager
def watching(parts: Mapping[str, nn.Module], watchers: Mapping[str, OnInput]) -> Iterator[None]:
    """Hand the inputs of layers to watchers; the hooks are gone afterwards, whatever happens.

    Only calls of this thread are watched: others may use the same model meanwhile.

    Args:
        parts: The model's parts.
        watchers: What to call with the input of each layer, by layer name.
    """
    handles = []
    try:
        for name, watcher in watchers.items():
            hook = _hook(watcher, threading.get_ident())
            handles.append(get_layer(parts, name).register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(watcher: OnInput, thread: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        if threading.get_ident() == thread:
            watcher(inputs[0])

    return hook


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Runs states through a model.

    Attributes:
        adm: The model.
        states: What to run through it.
        batch_size: States of one step that are run at once.
        progress: Told after every step of states.
        should_stop: Asked before every step of states.
    """

    adm: AudioDiffusionModel
    states: StateSet
    batch_size: int = 16
    progress: Progress = no_progress
    should_stop: ShouldStop = never_stop

    @torch.inference_mode()
    def __call__(self, parts: set[str]) -> None:
        """Run the named parts; both guidance branches pass through the denoiser.

        Raises:
            Cancelled: As soon as ``should_stop`` says so.
        """
        if DENOISER in parts:
            self.predictions()
        if parts & {"text_encoder", "conditioner"}:
            self.adm.encode(self.states.prompts)
        if parts & {"vae", "vocoder"}:
            for latents in self.states.finals:
                self.adm.vocode(self.adm.decode(latents[None]))

    @torch.inference_mode()
    def predictions(self) -> Tensor:
        """What the denoiser says of every state after guidance, shaped as the states' inputs.

        Raises:
            Cancelled: As soon as ``should_stop`` says so.
        """
        said = torch.empty_like(self.states.inputs)
        for call in self.calls():
            said[call.indices] = call.predict(self.adm)
        return said

    def calls(self) -> Iterator["Call"]:
        """The denoiser's calls one after the other, step by step.

        Raises:
            Cancelled: As soon as ``should_stop`` says so.
        """
        states, settings = self.states, self.states.settings
        times = self.adm.schedule(settings.steps)
        encoded = self.adm.encode(states.prompts)
        steps = sorted(set(states.steps.tolist()))
        for done, step in enumerate(steps, start=1):
            if self.should_stop():
                raise Cancelled(f"Stopped before calibration step {done} of {len(steps)}.")
            indices = torch.nonzero(states.steps == step)[:, 0]
            for here in torch.split(indices, self.batch_size):
                rows = states.rows[here]
                yield Call(
                    indices=here,
                    inputs=states.inputs[here],
                    conditioning=_rows(encoded, rows),
                    context=StepContext(
                        step=step,
                        n_steps=len(times),
                        t=times[step],
                        sample_ids=tuple(rows.tolist()),
                    ),
                    guidance=settings.guidance,
                )
            self.progress(done, len(steps))


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """States of one step that are run at once.

    Attributes:
        indices: Their places in the set.
        inputs: Latents.
        conditioning: Of both branches.
        context: Of the step.
        guidance: Scale of the merge.
    """

    indices: Tensor
    inputs: Tensor
    conditioning: Conditioning
    context: StepContext
    guidance: float

    def predict(self, adm: AudioDiffusionModel) -> Tensor:
        """What the denoiser says of them after guidance."""
        return predict(adm, self.inputs, self.conditioning, self.context, self.guidance)


def _rows(conditioning: Conditioning, rows: Tensor) -> Conditioning:
    return Conditioning(
        cond={key: value[rows] for key, value in conditioning.cond.items()},
        uncond={key: value[rows] for key, value in conditioning.uncond.items()},
    )
