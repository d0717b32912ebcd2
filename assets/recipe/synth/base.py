"""The registry of voices: one function per sound source, and the one way to render it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ: Final = 16_000
_FADE_SAMPLES: Final = 80  # 5 ms: no click where a clip is cut out of a longer sound


@dataclass(frozen=True, kw_only=True)
class Voicing:
    """What a caption says about one event.

    Attributes:
        pace: Factor on event rate, tempo and modulation speed: 0.55 is "slow", 1.8 is "fast".
        pitch: Factor on fundamental and centre frequencies: 0.65 is "low", 1.5 is "high".
    """

    pace: float = 1.0
    pitch: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("pace", self.pace), ("pitch", self.pitch)):
            if not 0.25 <= value <= 4.0:
                raise ValueError(f"{name} is {value}; choose a factor between 0.25 and 4")


Voice = Callable[[np.random.Generator, int, Voicing], NDArray[np.float64]]
VOICES: Final[dict[str, Voice]] = {}


def voice(source_id: str) -> Callable[[Voice], Voice]:
    """Register the decorated function as the voice of one source.

    Raises:
        ValueError: If the source has a voice already.
    """
    if source_id in VOICES:
        raise ValueError(f"the source '{source_id}' has a voice already; rename one of them")

    def register(function: Voice) -> Voice:
        VOICES[source_id] = function
        return function

    return register


def render_source(
    source_id: str, rng: np.random.Generator, n_samples: int, voicing: Voicing
) -> NDArray[np.float64]:
    """Render one source.

    Args:
        source_id: A key of `VOICES`.
        rng: The only origin of variation: an equal state gives equal samples.
        n_samples: Length at `SAMPLE_RATE_HZ`; voices are made for 0.8 s to 10 s.
        voicing: Pace and pitch as the caption has them.

    Returns:
        Samples of shape `(n_samples,)`, free of DC, with a peak of 1.

    Raises:
        ValueError: If the source is unknown, or the voice gave silence or non-finite samples.
    """
    if source_id not in VOICES:
        raise ValueError(f"no source '{source_id}'; choose one of {', '.join(sorted(VOICES))}")
    samples = VOICES[source_id](rng, n_samples, voicing)
    samples = samples - samples.mean()
    fade = np.linspace(0.0, 1.0, min(_FADE_SAMPLES, n_samples))
    samples[: len(fade)] *= fade
    samples[n_samples - len(fade) :] *= fade[::-1]
    peak = float(np.abs(samples).max())
    if not np.isfinite(peak) or peak < 1e-9:
        raise ValueError(
            f"'{source_id}' has a peak of {peak} in {n_samples} samples; mend its voice"
        )
    return np.asarray(samples / peak)
