"""Voices of animals."""

import numpy as np

from assets.recipe.synth.base import SAMPLE_RATE_HZ, Voicing, voice
from assets.recipe.synth.dsp import (
    Rng,
    Signal,
    arch,
    bandpass,
    harmonics,
    lowpass,
    mix_,
    noise,
    onsets,
    room,
    samples,
    sequence,
    throat,
    time_s,
    trapezoid,
    wander,
)


@voice("dog")
def dog(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Barks, singly or in pairs: a short arch of pitch, hoarse and open."""
    base_hz = rng.uniform(230, 380) * voicing.pitch
    open_hz = rng.uniform(750, 1_050) * voicing.pitch
    burst = int(rng.integers(1, 4))

    def group(_: int) -> Signal:
        out = np.zeros(samples(burst * 0.26 / voicing.pace + 0.3))
        for index in range(burst):
            length = samples(rng.uniform(0.13, 0.18) / voicing.pace**0.5)
            sweep = 0.75 + 0.5 * arch(length)
            bark = throat(base_hz * sweep, [open_hz * sweep, 2.4 * open_hz], 0.5)
            bark += 0.5 * bandpass(noise(rng, length), 0.7 * open_hz, 3.0 * open_hz)
            mix_(out, samples(index * 0.26 / voicing.pace), bark * arch(length) ** 0.6)
        return out

    period_s = (0.26 * burst + rng.uniform(0.3, 0.5)) / voicing.pace
    return room(rng, sequence(n, onsets(rng, n, period_s, 0.08), group), 0.1, 0.25)


@voice("cat")
def cat(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Meows: the mouth opens and closes, so one formant sweeps up and down."""
    base_hz = rng.uniform(520, 680) * voicing.pitch
    length = samples(min(rng.uniform(0.5, 0.7) / voicing.pace, 0.75 * n / SAMPLE_RATE_HZ))

    def meow(_: int) -> Signal:
        fall = rng.uniform(0.1, 0.4) * np.linspace(0, 1, length) ** 2
        track = base_hz * (0.85 + rng.uniform(0.15, 0.4) * arch(length) ** 0.7 - fall)
        mouth_hz = voicing.pitch * (900.0 + rng.uniform(1_100, 1_700) * arch(length) ** 1.5)
        return throat(track, [mouth_hz], 0.4) * trapezoid(length, 0.08, 0.2)

    period_s = length / SAMPLE_RATE_HZ + rng.uniform(0.5, 0.9) / voicing.pace
    return room(rng, sequence(n, onsets(rng, n, period_s, 0.08), meow), 0.08, 0.2)


@voice("songbird")
def songbird(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Phrases of chirps between 2.5 and 6 kHz: slurs, trills and warbles."""
    base_hz = float(np.clip(rng.uniform(3_000, 4_200) * voicing.pitch, 1_900, 5_200))
    out = np.zeros(n)
    cursor = samples(rng.uniform(0.02, 0.12))
    while cursor < n:
        length = samples(rng.uniform(0.07, 0.14) / voicing.pace)
        x = np.linspace(0.0, 1.0, length)
        slope, bend = rng.uniform(-0.35, 0.35), rng.uniform(-0.2, 0.2)
        warble = rng.choice([0.0, 0.06]) * np.sin(2 * np.pi * 35.0 * time_s(length))
        track = base_hz * rng.uniform(0.85, 1.15) * (1.0 + slope * (x - 0.5) + bend * arch(length))
        chirp = harmonics(np.minimum(track * (1.0 + warble), 7_000.0), [1.0]) * arch(length)
        for _ in range(int(rng.integers(2, 6))):
            mix_(out, cursor, chirp)
            cursor += int(length * 1.35)
        cursor += samples(rng.uniform(0.03, 0.22) / voicing.pace)
    return room(rng, out, 0.12, 0.15)


@voice("owl")
def owl(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Hollow hoots, one short and one long, almost a pure tone under 600 Hz."""
    base_hz = rng.uniform(340, 430) * voicing.pitch
    short, long = samples(0.16 / voicing.pace), samples(min(0.45 / voicing.pace, 0.6))

    def hoot(length: int) -> Signal:
        track = base_hz * (0.93 + 0.08 * arch(length))
        sound = harmonics(track, [1.0, 0.12, 0.05]) * trapezoid(length, 0.05, 0.1)
        return sound + 0.02 * lowpass(noise(rng, length), 1_200.0) * arch(length)

    def call(_: int) -> Signal:
        gap = np.zeros(samples(0.08 / voicing.pace))
        return np.concatenate([hoot(short), gap, hoot(long)])

    period_s = rng.uniform(1.1, 1.5) / voicing.pace
    return room(rng, sequence(n, onsets(rng, n, period_s, 0.08), call), 0.25, 0.35)


@voice("crickets")
def crickets(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Two to four crickets: one narrow line each, chopped into chirps of a few pulses."""
    out = np.zeros(n)
    t = time_s(n)
    for _ in range(int(rng.integers(2, 5))):
        line_hz = float(np.clip(rng.uniform(4_300, 4_900) * voicing.pitch, 2_700, 6_800))
        chirp_hz = rng.uniform(2.2, 3.0) * voicing.pace
        offset = rng.uniform(0.0, 1.0)
        position = (chirp_hz * t + offset) % 1.0
        pulses = np.clip(np.sin(2 * np.pi * 8.0 * position), 0.0, 1.0) * (position < 0.5)
        out += rng.uniform(0.4, 1.0) * np.sin(2 * np.pi * line_hz * t) * pulses
    return out


@voice("frog")
def frog(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Croaks in two parts, "rib-bit": a train of clicks through a rising resonance."""
    click_hz = rng.uniform(48, 70) * voicing.pitch
    low_hz = rng.uniform(480, 640) * voicing.pitch

    def part(length: int, rise: float) -> Signal:
        t = time_s(length)
        flap = np.clip(np.sin(2 * np.pi * click_hz * t), 0.0, 1.0) ** 2
        sweep = np.linspace(1.0, rise, length)
        body = harmonics(low_hz * sweep, [1.0, 0.3, 0.7, 0.2])
        return np.asarray(body * flap * trapezoid(length, 0.02, 0.03))

    def croak(_: int) -> Signal:
        first = part(samples(0.11 / voicing.pace), 1.05)
        second = part(samples(0.14 / voicing.pace), 1.6)
        return np.concatenate([first, np.zeros(samples(0.03 / voicing.pace)), second])

    period_s = rng.uniform(0.5, 0.75) / voicing.pace
    return room(rng, sequence(n, onsets(rng, n, period_s, 0.1), croak), 0.1, 0.2)


@voice("cow")
def cow(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Long moos: many low harmonics, the mouth opening slowly."""
    base_hz = rng.uniform(120, 160) * voicing.pitch
    length = samples(min(rng.uniform(1.1, 1.5) / voicing.pace, 0.8 * n / SAMPLE_RATE_HZ))

    def moo(_: int) -> Signal:
        x = np.linspace(0.0, 1.0, length)
        track = base_hz * (0.85 + 0.3 * np.minimum(2.5 * x, 1.0) - 0.25 * x**2)
        track *= 1.0 + 0.01 * wander(rng, length, 10.0)
        mouth_hz = 300.0 + 420.0 * np.clip(3.0 * x - 0.4, 0.0, 1.0)
        return throat(track, [mouth_hz, 2.6 * mouth_hz], 0.4) * trapezoid(length, 0.12, 0.25)

    period_s = length / SAMPLE_RATE_HZ + rng.uniform(0.4, 0.8) / voicing.pace
    return room(rng, sequence(n, onsets(rng, n, period_s, 0.05), moo), 0.12, 0.2)
