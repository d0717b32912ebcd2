"""Sounds without a nameable origin: a caption can only describe their shape."""

import numpy as np

from assets.recipe.synth.base import Voicing, voice
from assets.recipe.synth.dsp import (
    Rng,
    Signal,
    bump,
    harmonics,
    highpass,
    noise,
    onsets,
    phase,
    samples,
    sequence,
    shaped_noise,
    time_s,
    trapezoid,
    wander,
)


@voice("hum")
def hum(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Mains hum: a few perfectly steady harmonics of 100 or 120 Hz, slowly beating."""
    base_hz = rng.uniform(96, 124) * voicing.pitch
    levels = [1.0, rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.5), rng.uniform(0.15, 0.4)]
    beat = 1.0 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.5, 1.0) * voicing.pace * time_s(n))
    return harmonics(np.full(n, base_hz), levels) * beat


@voice("hiss")
def hiss(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Escaping air: smooth steady noise above 3 kHz, without any grain."""
    edge_hz = float(np.clip(rng.uniform(3_000, 3_800) * voicing.pitch, 2_000, 5_200))
    drift = 1.0 + 0.15 * wander(rng, n, 0.7 * voicing.pace)
    return highpass(highpass(noise(rng, n), edge_hz), edge_hz) * drift


@voice("sweep")
def sweep(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """One pure tone gliding over four octaves, up, down, or back and forth."""
    low_hz = rng.uniform(200, 300) * voicing.pitch
    top_hz = min(low_hz * 2.0 ** rng.uniform(3.4, 4.0), 7_200.0)
    period_s = rng.uniform(1.1, 1.5) / voicing.pace
    position = (time_s(n) / period_s + rng.uniform(0.0, 0.1)) % 1.0
    edge = np.minimum(position, 1.0 - position)
    kind = int(rng.integers(0, 3))
    if kind == 1:
        position = 1.0 - position
    elif kind == 2:
        position = 2.0 * edge
    gate = 1.0 if kind == 2 else np.clip(edge / 0.03, 0.0, 1.0)
    return np.asarray(np.sin(phase(low_hz * (top_hz / low_hz) ** position)) * gate)


@voice("whoosh")
def whoosh(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Something fast passes: a band of noise climbs, falls and is gone, then again."""
    pass_s = min(rng.uniform(0.5, 0.65) / voicing.pace, 1.1)
    length = samples(pass_s)
    top_hz = rng.uniform(2_200, 3_200) * voicing.pitch
    peak = rng.uniform(0.4, 0.6)

    def gain(at_s: Signal, f: Signal) -> Signal:
        x = np.clip(at_s / pass_s, 0.0, 1.0)
        height = np.exp(-0.5 * ((x - peak) / 0.17) ** 2)
        return np.asarray(height * bump(f, 300.0 + top_hz * height, 0.4))

    starts = onsets(rng, n, pass_s + rng.uniform(0.1, 0.3) / voicing.pace, 0.08)
    edge = trapezoid(length, 0.03, 0.03)
    return sequence(n, starts, lambda _: shaped_noise(rng, length, gain) * edge)
