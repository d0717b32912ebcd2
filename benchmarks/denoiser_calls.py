"""What a toolkit is calibrated on: the calls of the denoiser along calibrated trajectories."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ptq.adms.audioldm import AudioLDM
from ptq.calibration.states import StateSet

# What the presets keep in floating point, as others advise too: first, last and embedding layers.
ENDS = ("conv_in", "conv_out", "time_embedding", "class_embedding")


def is_end(name: str) -> bool:
    """Whether a layer of the denoiser, by its name there, is one that presets keep."""
    return name.startswith(ENDS)


def calls_of(adm: AudioLDM, states: StateSet) -> Iterator[dict[str, Tensor]]:
    """Yield one call a state: sample, timestep and class labels, of both guidance branches.

    Args:
        adm: The full-precision model.
        states: What the denoiser is given.
    """
    times, encoded = adm.schedule(states.settings.steps), adm.encode(states.prompts)
    cond, uncond = (side["class_labels"] for side in (encoded.cond, encoded.uncond))
    for state, row, step in zip(states.inputs, states.rows, states.steps.tolist(), strict=True):
        yield {
            "sample": torch.stack([state, state]),
            "timestep": torch.tensor(float(times[step])),
            # Cloned: encoded in inference mode, where toolkits could not work with it.
            "class_labels": torch.stack([uncond[row], cond[row]]).clone(),
        }
