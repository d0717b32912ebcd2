"""Voices of weather, water and fire."""

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
    lowpass,
    mix_,
    noise,
    onsets,
    resonate,
    samples,
    shaped_noise,
    wander,
)


def _scatter(rng: Rng, n: int, rate_hz: float) -> list[int]:
    """Start samples of a Poisson shower."""
    count = max(3, int(rng.poisson(rate_hz * n / SAMPLE_RATE_HZ)))
    return [int(start) for start in rng.integers(0, max(1, n - 200), count)]


def _frames(control: Signal, at_s: Signal) -> Signal:
    """A control signal read at the frame times of `shaped_noise`."""
    index = np.minimum((at_s * SAMPLE_RATE_HZ).astype(np.int64), len(control) - 1)
    return np.asarray(control[index])


@voice("rain")
def rain(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """A steady patter: many short drops all over the upper spectrum on a soft bed."""
    bed = highpass(noise(rng, n), rng.uniform(1_000, 1_600) * voicing.pitch) * 0.12
    drops = np.zeros(n)
    rate_hz = rng.uniform(70, 110) * voicing.pace
    for start in _scatter(rng, n, rate_hz):
        drops[start] += rng.uniform(0.5, 1.0) * rng.choice([-1.0, 1.0])
    grain = highpass(noise(rng, 160), 1_800.0 * voicing.pitch) * decay(160, 0.003, 0.0005)
    return bed + np.convolve(drops, grain)[:n] * 0.8


@voice("wind")
def wind(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Gusts: a band of noise below 1 kHz whose centre climbs with its strength, and a howl."""
    gust = 0.5 + 0.5 * np.sin(
        2
        * np.pi
        * np.cumsum(rng.uniform(0.35, 0.55) * voicing.pace * (1.0 + 0.3 * wander(rng, n, 1.0)))
        / SAMPLE_RATE_HZ
        + rng.uniform(-0.8, 3.0)
    )
    centre_hz = rng.uniform(300, 420) * voicing.pitch * 2.0 ** (0.9 * gust)

    def gain(at_s: Signal, f: Signal) -> Signal:
        centre = _frames(centre_hz, at_s)
        strength = 0.25 + _frames(gust, at_s)
        return strength * (0.5 * bump(f, 0.6 * centre, 0.6) + 1.4 * bump(f, centre, 0.1))

    return shaped_noise(rng, n, gain)


@voice("waves")
def waves(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Surf: broad noise swells, brightest as it breaks, and draws back slowly."""
    period_s = rng.uniform(2.2, 3.0) / voicing.pace
    start = rng.uniform(0.08, 0.45)
    top_hz = rng.uniform(3_500, 5_500) * voicing.pitch

    def gain(at_s: Signal, f: Signal) -> Signal:
        position = (at_s / period_s + start) % 1.0
        swell = np.where(position < 0.35, (position / 0.35) ** 2, np.exp(-(position - 0.35) * 4.5))
        edge_hz = 250.0 + top_hz * swell
        return (0.06 + swell) / (1.0 + (f / edge_hz) ** 2)

    return shaped_noise(rng, n, gain)


@voice("thunder")
def thunder(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """A crack, then a rumble that rolls and dies away below 300 Hz."""
    edge_hz = rng.uniform(110, 190) * voicing.pitch
    fall_s = rng.uniform(0.9, 1.5) / voicing.pace
    out = np.zeros(n)
    for start in onsets(rng, n, 3.2 * fall_s, 0.1):
        length = n - start
        roll = 0.65 + 0.35 * wander(rng, length, 5.0 * voicing.pace)
        rumble = lowpass(lowpass(noise(rng, length), edge_hz), 2.0 * edge_hz)
        again = rng.uniform(0.3, 0.9) * fall_s * SAMPLE_RATE_HZ
        swell = 1.0 + rng.uniform(0.3, 1.2) * np.exp(
            -0.5 * ((np.arange(length) - again) / (0.15 * again)) ** 2
        )
        rumble *= roll * swell * decay(length, fall_s, 0.05) / 0.12
        crack = lowpass(noise(rng, length), 3_500.0 * voicing.pitch) * decay(length, 0.09)
        mix_(out, start, rumble + rng.uniform(0.5, 1.2) * crack)
    return out


@voice("fire")
def fire(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Crackle: sparse broadband snaps over a low, fluttering roar."""
    flutter = 0.7 + 0.3 * wander(rng, n, 9.0)
    out = bandpass(noise(rng, n), 90.0, 420.0 * voicing.pitch) * flutter * 0.3
    for start in [samples(0.1), *_scatter(rng, n, rng.uniform(11, 18) * voicing.pace)]:
        length = samples(rng.uniform(0.02, 0.05))
        snap = resonate(noise(rng, length), rng.uniform(1_200, 4_500) * voicing.pitch, 1_500.0)
        mix_(out, start, rng.uniform(0.8, 1.8) * snap * decay(length, 0.006, 0.0004))
    return out


@voice("stream")
def stream(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Running water: bubbles, each a short tone that rises, over a soft wash."""
    out = 0.12 * bandpass(noise(rng, n), 300.0 * voicing.pitch, 1_600.0 * voicing.pitch)
    for start in _scatter(rng, n, rng.uniform(22, 30) * voicing.pace):
        length = samples(rng.uniform(0.04, 0.09))
        base_hz = voicing.pitch * 420.0 * 2.0 ** rng.uniform(0.0, 1.7)
        track = base_hz * np.linspace(1.0, rng.uniform(1.3, 1.8), length)
        mix_(out, start, rng.uniform(0.3, 0.8) * harmonics(track, [1.0]) * arch(length) ** 0.7)
    return out
