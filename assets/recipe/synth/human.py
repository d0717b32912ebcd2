"""Voices of people: what they say, do with their hands and feet, and sound like asleep."""

import numpy as np

from assets.recipe.synth.base import Voicing, voice
from assets.recipe.synth.dsp import (
    Rng,
    Signal,
    arch,
    bandpass,
    bump,
    decay,
    harmonics,
    lowpass,
    mix_,
    modal,
    noise,
    onsets,
    room,
    samples,
    sequence,
    shaped_noise,
    smooth,
    steps,
    throat,
    time_s,
    trapezoid,
    wander,
)
from assets.recipe.synth.vocal import VOWELS, babble, formants, vowel


@voice("speech")
def speech(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """One talker: syllables at about four a second."""
    base_hz = rng.uniform(95, 135) if rng.random() < 0.5 else rng.uniform(165, 220)
    rate_hz = 4.2 * rng.uniform(0.88, 1.12) * voicing.pace
    out = babble(rng, n, frequency_hz=base_hz * voicing.pitch, syllable_hz=rate_hz)
    return room(rng, out, 0.08, rng.uniform(0.0, 0.3))


@voice("laughter")
def laughter(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Bouts of "ha ha ha" on a falling pitch, equal syllables after a breath of noise."""
    base_hz = rng.uniform(240, 380) * voicing.pitch
    period_s = rng.uniform(0.17, 0.21) / voicing.pace
    open_vowel = np.asarray(VOWELS[0]) * rng.uniform(1.15, 1.35)
    length = samples(0.95 * period_s)
    breath = length // 3
    out = np.zeros(n)
    cursor = samples(rng.uniform(0.01, 0.1))
    while cursor < n:
        count = int(rng.integers(4, 9))
        for position in range(count):
            pitch_hz = base_hz * (1.25 - 0.5 * position / count)
            track = pitch_hz * np.linspace(1.08, 0.88, length - breath)
            ha = vowel(track, open_vowel, open_vowel) * arch(length - breath)
            hush = formants(noise(rng, length), open_vowel) * trapezoid(length, 0.02, 0.09)
            mix_(out, cursor, 0.35 * hush / np.abs(hush).max())
            mix_(out, cursor + breath, ha / np.abs(ha).max() * (1.0 - 0.4 * position / count))
            cursor += samples(period_s)
        cursor += samples(rng.uniform(0.25, 0.5) / voicing.pace)
    return room(rng, out, 0.1, 0.2)


@voice("clapping")
def clapping(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """One to four people clap, each steadily; a clap is a short burst around 1.2 kHz."""
    out = np.zeros(n)
    for _ in range(int(rng.integers(1, 5))):
        centre_hz = rng.uniform(1_000, 1_500) * voicing.pitch
        period_s = rng.uniform(0.26, 0.34) / voicing.pace
        length = samples(0.12)
        for start in onsets(rng, n, period_s, 0.04):
            clap = bandpass(noise(rng, length), centre_hz * 0.6, centre_hz * 2.0)
            clap *= decay(length, 0.018) + 0.5 * np.roll(decay(length, 0.01), samples(0.012))
            mix_(out, start, rng.uniform(0.7, 1.0) * clap)
    return room(rng, out, rng.uniform(0.08, 0.16), 0.5)


@voice("footsteps")
def footsteps(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Heel thud, then the scrape of the toe; the ground is hard or gravel."""
    thud_hz = rng.uniform(85, 130) * voicing.pitch
    gravel = rng.uniform(0.15, 0.9)
    period_s = rng.uniform(0.5, 0.6) / voicing.pace
    length = samples(0.25)

    def step(index: int) -> Signal:
        side = 1.0 if index % 2 else 1.12
        heel = modal(length, [(thud_hz * side, 0.045, 1.0), (thud_hz * side * 2.3, 0.02, 0.5)])
        heel += 0.5 * lowpass(noise(rng, length), 700.0) * decay(length, 0.02)
        toe = bandpass(noise(rng, length), 900.0 * voicing.pitch, 3_000.0)
        mix_(heel, samples(0.085), gravel * toe * decay(length, 0.04, 0.015))
        return heel * rng.uniform(0.8, 1.0)

    return room(rng, sequence(n, onsets(rng, n, period_s, 0.03), step), 0.06, 0.25)


@voice("whistling")
def whistling(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """A tune whistled by lips: one pure tone that slides from note to note."""
    base_hz = rng.uniform(1_050, 1_450) * voicing.pitch
    starts = onsets(rng, n, rng.uniform(0.28, 0.4) / voicing.pace, 0.25)
    scale = np.array([-5, -3, 0, 2, 4, 5, 7, 9])
    notes = scale[np.clip(np.cumsum(rng.integers(-2, 3, len(starts))) + 3, 0, 7)]
    track = smooth(steps(n, starts, list(base_hz * 2.0 ** (notes / 12.0))), 0.025)
    track = track * (1.0 + 0.012 * np.sin(2 * np.pi * rng.uniform(5, 6.5) * time_s(n)))
    gate = np.ones(n)
    for start in starts:
        gap = samples(0.05)
        mix_(gate, max(0, start - gap // 2), -0.9 * arch(gap))
    breath = bandpass(noise(rng, n), base_hz, base_hz * 2.0) * 0.012
    return harmonics(track, [1.0, 0.03]) * smooth(np.maximum(gate, 0.0), 0.006) + breath


@voice("baby_cry")
def baby_cry(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Wails that rise, shake and fall, each after a gasp; rich in harmonics."""
    base_hz = rng.uniform(390, 480) * voicing.pitch
    wail_s = min(rng.uniform(0.75, 1.0) / voicing.pace, 0.7 * n / 16_000)
    length = samples(wail_s)
    gasp_length = samples(0.16)

    def wail(_: int) -> Signal:
        shape = 0.65 + rng.uniform(0.35, 0.6) * arch(length) ** rng.uniform(0.4, 0.9)
        shape += 0.03 * wander(rng, length, 12.0)
        shape += 0.025 * np.sin(2 * np.pi * rng.uniform(6, 8) * time_s(length))
        cry = throat(base_hz * shape, [1_250.0, 3_300.0], 0.45) * trapezoid(length, 0.06, 0.15)
        gasp = bandpass(noise(rng, gasp_length), 1_500.0, 5_000.0) * arch(gasp_length)
        return np.concatenate([cry, np.zeros(samples(0.05)), 0.25 * gasp])

    starts = onsets(rng, n, wail_s + 0.3 / voicing.pace, 0.05)
    return room(rng, sequence(n, starts, wail), 0.1, 0.2)


@voice("snoring")
def snoring(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Rattling breath in, soft breath out."""
    rattle_hz = rng.uniform(26, 38) * voicing.pitch
    inhale_s = min(rng.uniform(0.8, 1.1) / voicing.pace, 0.7 * n / 16_000)
    length = samples(inhale_s)
    centre_hz = rng.uniform(260, 400) * voicing.pitch

    def breath(_: int) -> Signal:
        rate = rattle_hz * (1.0 + 0.15 * arch(length) + 0.05 * wander(rng, length, 8.0))
        flap = (0.5 + 0.5 * np.cos(2 * np.pi * np.cumsum(rate) / 16_000)) ** 4
        rough = bandpass(noise(rng, length), 0.6 * centre_hz, 2.2 * centre_hz)
        snore = rough * flap * trapezoid(length, 0.15, 0.12)
        out = shaped_noise(rng, length, lambda _t, f: bump(f, 2_200.0, 0.4))
        return np.concatenate([snore, np.zeros(length // 4), 0.10 * out * arch(length)])

    return sequence(n, onsets(rng, n, 2.7 * inhale_s, 0.04), breath)
