"""The human voice: formant synthesis of syllables, and babble made of them."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from assets.recipe.synth.dsp import (
    Rng,
    Signal,
    buzz,
    highpass,
    lowpass,
    mix_,
    noise,
    resonate,
    samples,
    trapezoid,
)

# First three formants of open, front, back and rounded vowels, in Hz.
VOWELS: Final[tuple[tuple[float, float, float], ...]] = (
    (750.0, 1250.0, 2600.0),
    (300.0, 2250.0, 3000.0),
    (330.0, 800.0, 2300.0),
    (520.0, 1850.0, 2550.0),
    (560.0, 900.0, 2450.0),
)


def formants(x: Signal, centres_hz: Sequence[float] | Signal) -> Signal:
    """Parallel formant filter; higher formants are wider and weaker."""
    out = np.zeros(len(x))
    for rank, centre_hz in enumerate(centres_hz):
        out += resonate(x, centre_hz, 70.0 + 40.0 * rank) / (1.0 + 0.6 * rank)
    return out


def vowel(
    frequency_hz: Signal, first: Sequence[float] | Signal, last: Sequence[float] | Signal
) -> Signal:
    """Voiced sound that glides from one vowel to another."""
    source = lowpass(buzz(frequency_hz), 1_800.0)
    blend = np.linspace(0.0, 1.0, len(source))
    return (1.0 - blend) * formants(source, first) + blend * formants(source, last)


def syllable(rng: Rng, n: int, frequency_hz: float, tract: float) -> Signal:
    """One syllable: often a fricative or a plosive, then a vowel.

    Args:
        rng: Origin of the choice of phones.
        n: Length in samples.
        frequency_hz: Mean fundamental.
        tract: Factor on the formants; a shorter vocal tract has a larger one.
    """
    pitch_hz = frequency_hz * np.linspace(rng.uniform(0.98, 1.12), rng.uniform(0.85, 1.02), n)
    first, last = (np.asarray(VOWELS[i]) * tract for i in rng.integers(0, len(VOWELS), 2))
    out = vowel(pitch_hz, first, last) * trapezoid(n, 0.04, 0.06)
    out /= max(float(np.abs(out).max()), 1e-9)
    if rng.random() < 0.45:
        length = max(64, int(n * rng.uniform(0.25, 0.4)))
        hush = highpass(noise(rng, length), rng.uniform(2_500.0, 4_500.0))
        out[:length] *= np.linspace(0.0, 1.0, length) ** 2
        mix_(out, 0, 0.12 * hush * trapezoid(length, 0.02, 0.03))
    return out


def babble(rng: Rng, n: int, *, frequency_hz: float, syllable_hz: float) -> Signal:
    """Speech without words: phrases of syllables under a falling pitch, with pauses."""
    tract = 1.0 + 0.18 * float(np.clip(np.log2(frequency_hz / 120.0), -0.6, 1.3))
    out = np.zeros(n)
    cursor = samples(rng.uniform(0.01, 0.1))
    while cursor < n:
        count = int(rng.integers(3, 8))
        for position in range(count):
            length = samples(rng.uniform(0.75, 1.3) / syllable_hz)
            pitch_hz = frequency_hz * (1.2 - 0.4 * position / count) * rng.uniform(0.92, 1.08)
            loud = rng.uniform(0.6, 1.0)
            mix_(out, cursor, loud * syllable(rng, length, pitch_hz, tract))
            cursor += length
        cursor += samples(rng.uniform(0.5, 1.3) / syllable_hz)
    return out
