"""Voices of machines, vehicles and household things."""

import numpy as np

from assets.recipe.synth.base import Voicing, voice
from assets.recipe.synth.dsp import (
    Rng,
    Signal,
    bandpass,
    decay,
    harmonics,
    highpass,
    lowpass,
    mix_,
    modal,
    noise,
    onsets,
    phase,
    resonate,
    rich,
    room,
    samples,
    sequence,
    smooth,
    time_s,
    trapezoid,
    wander,
)


@voice("siren")
def siren(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """A wailing, yelping or two-tone siren: one harmonic line swinging about 900 Hz."""
    centre_hz = rng.uniform(720, 900) * voicing.pitch
    kind = int(rng.integers(0, 3))
    rate_hz = (0.55, 2.6, 0.9)[kind] * rng.uniform(0.9, 1.1) * voicing.pace
    swing = np.sin(2 * np.pi * rate_hz * time_s(n) + rng.uniform(-1.5, 1.5))
    if kind == 2:
        swing = 0.6 * smooth(np.sign(swing), 0.01)
    tone = harmonics(centre_hz * 2.0 ** (0.55 * swing), [1.0, 0.5, 0.6, 0.2, 0.25])
    return room(rng, tone, 0.15, 0.2)


@voice("engine")
def engine(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """A running motor: firing pulses at about 30 Hz and their harmonics, revving slowly."""
    rev = 1.0 + rng.uniform(0.25, 0.45) * np.sin(
        2 * np.pi * rng.uniform(0.3, 0.55) * voicing.pace * time_s(n) + rng.uniform(0, 6.28)
    )
    fire_hz = rng.uniform(34, 48) * voicing.pitch * rev
    theta = phase(fire_hz)
    pulse = (0.5 + 0.5 * np.cos(theta)) ** 6
    out = rich(fire_hz * 2.0, rng.uniform(0.78, 0.88)) * (0.8 + 0.2 * np.cos(theta / 2.0))
    out += rng.uniform(0.05, 0.2) * bandpass(noise(rng, n), 200.0, 1_200.0) * pulse
    return lowpass(out, 1_500.0)


@voice("clock")
def clock(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Tick and tock: two short metallic clicks in turn, perfectly even."""
    tick_hz = rng.uniform(2_400, 3_200) * voicing.pitch
    period_s = rng.uniform(0.3, 0.38) / voicing.pace
    length = samples(0.09)

    def tick(index: int) -> Signal:
        centre_hz = tick_hz if index % 2 else 0.72 * tick_hz
        out = modal(length, [(centre_hz, 0.014, 1.0), (1.7 * centre_hz, 0.008, 0.5)])
        return out + 0.15 * highpass(noise(rng, length), 3_000.0) * decay(length, 0.003)

    return sequence(n, onsets(rng, n, period_s, 0.0), tick)


@voice("telephone")
def telephone(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """A ringer: two bells struck in turn twenty times a second, with pauses between rings."""
    low_hz = rng.uniform(1_150, 1_400) * voicing.pitch
    trill_hz = rng.uniform(17, 21) * voicing.pace**0.5
    t = time_s(n)
    high = smooth((((trill_hz * t) % 1.0) < 0.5).astype(np.float64), 0.004)
    bells = [low_hz, 1.25 * low_hz]
    out = np.zeros(n)
    for base_hz, gate in zip(bells, (high, 1.0 - high), strict=True):
        for ratio, level in ((1.0, 1.0), (2.76, 0.5)):
            out += level * np.sin(2 * np.pi * min(base_hz * ratio, 7_400.0) * t) * gate
    period_s = rng.uniform(1.2, 1.5) / voicing.pace
    position = (t + rng.uniform(0.0, 0.2) * period_s) % period_s / period_s
    return room(rng, out * smooth((position < 0.68).astype(np.float64), 0.03), 0.1, 0.15)


@voice("alarm")
def alarm(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """An electronic alarm: equal beeps of one fixed pitch, singly or in fours."""
    beep_hz = float(np.clip(rng.uniform(2_000, 2_500) * voicing.pitch, 1_200, 3_700))
    period_s = rng.uniform(0.17, 0.22) / voicing.pace
    in_fours = rng.random() < 0.5
    t = time_s(n) + rng.uniform(0.0, 0.5) * period_s
    gate = (t / period_s) % 1.0 < 0.55
    if in_fours:
        gate &= (t / period_s) % 6.0 < 4.0
    square = harmonics(np.full(n, beep_hz), [1.0, 0.0, 0.33])
    return square * smooth(gate.astype(np.float64), 0.002)


@voice("car_horn")
def car_horn(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Honks: two reeds a third apart, dense and bright, switched hard on and off."""
    low_hz = rng.uniform(370, 430) * voicing.pitch
    honk_s = rng.uniform(0.22, 0.5) / voicing.pace
    length = samples(honk_s)
    reeds = rich(np.full(length, low_hz), 0.88) + rich(np.full(length, low_hz * 1.26), 0.88)
    honk = (reeds + resonate(reeds, 2_300.0, 900.0)) * trapezoid(length, 0.015, 0.03)
    starts = onsets(rng, n, honk_s + rng.uniform(0.18, 0.4) / voicing.pace, 0.12)
    return room(rng, sequence(n, starts, lambda _: honk), 0.12, 0.25)


@voice("train")
def train(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Wheels over joints, "ta-dum, ta-dum", a rumble below, and now and then a chord horn."""
    period_s = rng.uniform(0.55, 0.68) / voicing.pace
    length = samples(0.2)

    def clack() -> Signal:
        thud = lowpass(noise(rng, length), 260.0 * voicing.pitch) * decay(length, 0.05) * 4.0
        ring = bandpass(noise(rng, length), 900.0, 3_200.0 * voicing.pitch) * decay(length, 0.025)
        return thud + ring

    out = 0.5 * lowpass(noise(rng, n), 180.0) * 2.0
    for start in onsets(rng, n, period_s, 0.01):
        for offset, level in ((0.0, 1.0), (0.14, 0.8), (0.24, 0.45)):
            mix_(out, start + samples(offset / voicing.pace), level * clack())
    if n > samples(2.0) and rng.random() < 0.6:
        horn_length = samples(rng.uniform(0.8, 1.3))
        base_hz = rng.uniform(280, 330) * voicing.pitch
        chord = sum(
            (rich(np.full(horn_length, base_hz * r), 0.7) for r in (1.0, 1.19, 1.41, 1.68)),
            np.zeros(horn_length),
        )
        start = int(rng.integers(0, n - horn_length))
        mix_(out, start, 0.5 * chord * trapezoid(horn_length, 0.06, 0.15))
    return out


@voice("helicopter")
def helicopter(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Rotor blades chop low noise a dozen times a second over a turbine whine."""
    chop_hz = rng.uniform(10.5, 13.0) * voicing.pace
    theta = phase(np.full(n, chop_hz) * (1.0 + 0.03 * wander(rng, n, 0.7)))
    blade = (0.5 + 0.5 * np.cos(theta)) ** 5
    low = lowpass(noise(rng, n), 650.0 * voicing.pitch) * 2.0
    slap = bandpass(noise(rng, n), 700.0, 2_400.0 * voicing.pitch) * blade**2
    whine = harmonics(np.full(n, rng.uniform(2_300, 2_800) * voicing.pitch), [0.12])
    swell = 0.8 + 0.2 * wander(rng, n, 0.5)
    return (low * (blade + 0.03) + 0.6 * slap + whine) * swell


@voice("typing")
def typing(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Keys in uneven bursts: a click down, a lighter click up, all above 1.5 kHz."""
    rate_hz = rng.uniform(7.0, 9.0) * voicing.pace
    centre_hz = rng.uniform(2_800, 3_800) * voicing.pitch
    length = samples(0.05)
    out = np.zeros(n)
    for start in onsets(rng, n, 1.0 / rate_hz, 0.45):
        if rng.random() < 0.12 and start > samples(0.3):
            continue
        key_hz = centre_hz * rng.uniform(0.85, 1.15)
        down = bandpass(noise(rng, length), 0.5 * key_hz, 1.6 * key_hz) * decay(length, 0.006)
        mix_(out, start, rng.uniform(0.6, 1.0) * down)
        mix_(out, start + samples(0.06), 0.35 * down)
    return out


@voice("knocking")
def knocking(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Knuckles on a wooden door: groups of three to five hollow raps."""
    door_hz = rng.uniform(280, 380) * voicing.pitch
    gap_s = rng.uniform(0.17, 0.22) / voicing.pace
    raps = int(rng.integers(3, 6))
    length = samples(0.16)
    modes = [(door_hz, 0.03, 1.0), (1.62 * door_hz, 0.022, 0.8), (2.9 * door_hz, 0.012, 0.5)]

    def group(_: int) -> Signal:
        out = np.zeros(samples(raps * gap_s) + length)
        for index in range(raps):
            rap = modal(length, modes)
            rap += 0.25 * lowpass(noise(rng, length), 2_000.0) * decay(length, 0.006)
            mix_(out, samples(index * gap_s), rap * rng.uniform(0.8, 1.0))
        return out

    period_s = raps * gap_s + rng.uniform(0.35, 0.6) / voicing.pace
    return room(rng, sequence(n, onsets(rng, n, period_s, 0.05), group), 0.05, 0.2)
