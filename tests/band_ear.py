"""An ear that needs no weights and few clips, for tests of what is done with scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ptq.audio import AudioClip
from ptq.metrics import ReferenceBank

Array = NDArray[np.float32]
RATE_HZ = 16_000


@dataclass(frozen=True, kw_only=True)
class BandEar:
    """Not an ear that hears anything: log energies of four bands, so that tests need no weights."""

    id: str = "bands4"
    sha256: str = "0" * 64
    dim: int = 4
    sample_rate_hz: int = RATE_HZ
    bank: ReferenceBank = field(default_factory=lambda: _reference())
    families: Mapping[str, ReferenceBank] = field(default_factory=dict)

    def embed(self, clips: Sequence[Array]) -> Array:
        return np.stack([_bands(clip) for clip in clips])

    def class_logits(self, embeddings: Array) -> Array:
        return 3 * embeddings[:, :3]

    def text_score(self, clips: Sequence[Array], texts: Sequence[str]) -> Array:
        levels = [1 + 0.1 * _bands(clip).std() for clip in clips]
        return np.asarray([0.1 * level for level, _ in zip(levels, texts, strict=True)])


def _bands(samples: Array) -> Array:
    power = np.abs(np.fft.rfft(samples)) ** 2
    return np.asarray([np.log(band.mean() + 1e-9) for band in np.array_split(power, 4)], np.float32)


def noise_clips(n: int, seed: int, noise: float = 0.0, gain: float = 0.02) -> tuple[AudioClip, ...]:
    """Coloured noise; the same seed gives the same clips but for the added noise."""
    rng, extra = np.random.default_rng(seed), np.random.default_rng(99)
    made = []
    for _ in range(n):
        spectrum = np.fft.rfft(rng.standard_normal(1024))
        spectrum *= np.repeat(np.exp(rng.standard_normal(4)), 129)[: len(spectrum)]
        samples = gain * np.fft.irfft(spectrum) + noise * extra.standard_normal(1024)
        made.append(AudioClip(samples=samples.astype(np.float32), sample_rate_hz=RATE_HZ))
    return tuple(made)


def _reference() -> ReferenceBank:
    return ReferenceBank.from_embeddings(
        np.stack([_bands(c.samples) for c in noise_clips(800, 5, gain=0.01)])
    )
