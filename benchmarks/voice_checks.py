"""What must not happen to a voice: clips that break off, and seeds that all sound alike."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from assets.recipe.corpus import SAMPLE_RATE_HZ
from ptq.metrics import clip_flags
from ptq.metrics.embed.ear import Ear
from ptq.prompts.grammar import Prompt

Clips = list[NDArray[np.float32]]
_FRAME_S = 0.01
# What falls by so much within two frames, and does not come back, was cut: most sounds die away
# slower. Beeps and clicks do not, but then the clip's others end nearly as suddenly.
_FALL_DB, _LIKE_FALL_DB, _FLOOR_DB = 40.0, 30.0, -100.0
_LEAST_SILENCE_S = 0.25


def is_cut(clip: NDArray[np.float32]) -> bool:
    """Whether a clip breaks off into silence before its end."""
    frame = round(_FRAME_S * SAMPLE_RATE_HZ)
    frames = clip[: len(clip) // frame * frame].astype(np.float64).reshape(-1, frame)
    power = np.maximum(np.square(frames).mean(axis=1), 10.0 ** (_FLOOR_DB / 10.0))
    levels = 10.0 * np.log10(power)
    loudest_after = np.maximum.accumulate(levels[::-1])[::-1]
    last = len(levels) - round(_LEAST_SILENCE_S / _FRAME_S)
    ends = np.flatnonzero(levels[: last - 2] - loudest_after[2:last] >= _FALL_DB)
    falls = np.flatnonzero(levels[:-2] - levels[2:] >= _LIKE_FALL_DB)
    return len(ends) > 0 and not (falls < ends[0] - 2).any()


def defects(clips: Clips) -> float:
    """How many clips are silent, clipped, cut or not finite."""
    flags = [clip_flags(clip) for clip in clips]
    broken = [flag.silent or flag.clipped or flag.nan for flag in flags]
    return float(sum(bad or is_cut(clip) for bad, clip in zip(broken, clips, strict=True)))


def cuts_found(clips: Clips) -> float:
    """Share of clips that would be found if their second half were missing."""
    return float(
        np.mean([is_cut(clip * (np.arange(len(clip)) < len(clip) // 2)) for clip in clips])
    )


def spread(ear: Ear, clips: Clips, alike: int) -> float:
    """Mean pairwise embedding distance within groups of neighbours, such as one source's clips.

    Args:
        ear: Embeds.
        clips: Group by group.
        alike: Clips of a group.
    """
    rows = ear.embed(clips).reshape(-1, alike, ear.dim)
    gaps = np.linalg.norm(rows[:, :, None] - rows[:, None], axis=-1)
    return float(gaps.sum() / (len(rows) * alike * (alike - 1)))


def repeated(prompts: Sequence[Prompt], times: int, every: int) -> list[Prompt]:
    """Every so manieth prompt, as often as noise is to be heard with it."""
    return [prompt for prompt in prompts[::every] for _ in range(times)]
