"""Final latents of drawn prompts, for measures that need no sound."""

import torch
from torch import Tensor

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.sampling import NoiseTape, Sampler, SamplingSettings
from ptq.prompts.suites import Suite, draw_suite

_BATCH = 8


def sampled_latents(
    adm: AudioDiffusionModel, settings: SamplingSettings, count: int, seed: int, *, noise: int
) -> Tensor:
    """Sample prompts of suite A: latents ``(count, channels, frames, mels)``.

    Args:
        adm: The model.
        settings: Of the sampler.
        count: How many prompts.
        seed: Of their draw.
        noise: Seed of what they start from.
    """
    conditioning = adm.encode([p.text for p in draw_suite(Suite.EXPLORATION, count, seed)])
    sampler, tape = Sampler(adm=adm, settings=settings), NoiseTape(noise)
    spans = [(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]
    return torch.cat([sampler(conditioning.rows(*s), tape, range(*s)) for s in spans])
