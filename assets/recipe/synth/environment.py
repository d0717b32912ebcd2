"""Voices of places: many things at once."""

import numpy as np

from assets.recipe.synth.base import SAMPLE_RATE_HZ, Voicing, voice
from assets.recipe.synth.dsp import (
    Rng,
    Signal,
    arch,
    bandpass,
    bump,
    decay,
    harmonics,
    highpass,
    mix_,
    modal,
    noise,
    onsets,
    rich,
    room,
    samples,
    shaped_noise,
    time_s,
)
from assets.recipe.synth.vocal import babble


@voice("crowd")
def crowd(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """A room full of people: many talkers on top of each other, none of them clear."""
    out = np.zeros(n)
    for base_hz in (rng.uniform(95, 125), rng.uniform(150, 210)):
        rate_hz = 4.5 * voicing.pace
        one = babble(rng, n, frequency_hz=base_hz * voicing.pitch, syllable_hz=rate_hz)
        # One talker at five places in time is five talkers to the ear, at a fifth of the work.
        for _ in range(5):
            out += rng.uniform(0.5, 1.0) * np.roll(one, int(rng.integers(0, n)))
    murmur = bandpass(noise(rng, n), 250.0, 1_100.0 * voicing.pitch)
    return room(rng, out / np.std(out) + 0.35 * murmur / np.std(murmur), 0.35, 1.2)


@voice("traffic")
def traffic(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """A road: a low roar, and cars that pass, each a swell of tyre noise with a falling tone."""
    period_s = rng.uniform(1.0, 1.4) / voicing.pace
    passes = np.arange(rng.uniform(0.25, 0.45), n / SAMPLE_RATE_HZ + period_s, period_s)
    passes = passes + rng.uniform(-0.1, 0.1, len(passes)) * period_s
    width_s = 0.22 * period_s
    tyre_hz = rng.uniform(700, 1_000) * voicing.pitch

    def gain(at_s: Signal, f: Signal) -> Signal:
        swell = np.exp(-0.5 * ((at_s - passes[None, :]) / width_s) ** 2).sum(axis=1, keepdims=True)
        return np.asarray(0.5 * bump(f, 110.0, 0.8) + swell * bump(f, tyre_hz, 0.7))

    out = shaped_noise(rng, n, gain)
    t = time_s(n)
    for centre_s in passes:
        closing = np.tanh((centre_s - t) / (0.4 * width_s))
        track = rng.uniform(120, 160) * voicing.pitch * (1.0 + 0.12 * closing)
        near = np.exp(-0.5 * ((t - centre_s) / width_s) ** 2)
        out += 0.5 * rich(track, 0.7) * near
    return out


@voice("factory")
def factory(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """A hall of machines: a press that clanks, steam between its strokes, a motor drone."""
    period_s = rng.uniform(0.62, 0.8) / voicing.pace
    plate_hz = rng.uniform(620, 820) * voicing.pitch
    length = samples(0.4)
    ratios = (1.0, 1.58, 2.24, 3.16, 4.6)
    modes = [(plate_hz * r, 0.12 / (1.0 + 0.3 * k), 1.0) for k, r in enumerate(ratios)]
    clank = 0.5 * modal(length, modes)
    clank += 0.8 * modal(length, [(75.0, 0.08, 1.5)])
    steam_length = samples(0.32 * period_s)
    drone_hz = rng.uniform(145, 185) * voicing.pitch
    out = 0.3 * harmonics(np.full(n, drone_hz), [1.0, 0.5, 0.6, 0.0, 0.4])
    for start in onsets(rng, n, period_s, 0.005):
        strike = 0.4 * highpass(noise(rng, length), 1_500.0) * decay(length, 0.012)
        mix_(out, start, clank + strike)
        steam = 0.3 * highpass(noise(rng, steam_length), 3_500.0) * arch(steam_length)
        mix_(out, start + samples(0.5 * period_s), steam)
    return room(rng, out, 0.3, 0.35)
