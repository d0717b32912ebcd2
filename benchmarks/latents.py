"""Final latents of drawn prompts, for measures that need no sound."""

import torch
from torch import Tensor

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.sampling import NoiseTape, Sampler, SamplingSettings
from ptq.prompts.suites import Suite, draw_suite

_BATCH = 8


def sampled_latents(
    adm: AudioDiffusionModel,
    settings: SamplingSettings,
    count: int,
    seed: int,
    *,
    noise: NoiseTape,
) -> Tensor:
    """Sample prompts of suite A: latents ``(count, channels, frames, mels)``.

    Args:
        adm: The model.
        settings: Of the sampler.
        count: How many prompts.
        seed: Of their draw.
        noise: What they start from.
    """
    conditioning = adm.encode([p.text for p in draw_suite(Suite.EXPLORATION, count, seed)])
    sampler = Sampler(adm=adm, settings=settings)
    spans = [(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]
    return torch.cat([sampler(conditioning.rows(*s), noise, range(*s)) for s in spans])
