"""Voices of musical instruments."""

from typing import Final

import numpy as np

from assets.recipe.synth.base import Voicing, voice
from assets.recipe.synth.dsp import (
    Rng,
    Signal,
    arch,
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
    pluck,
    resonate,
    rich,
    room,
    samples,
    sequence,
    smooth,
    steps,
    time_s,
    trapezoid,
)

_MAJOR: Final = np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16])
_CHORDS: Final = ((0, 7, 12, 16, 19), (0, 7, 12, 15, 19), (5, 12, 17, 21, 24), (-5, 2, 7, 11, 14))
# Partial, decay and level of a church bell: hum, prime, tierce, quint, nominal and three above.
_BELL: Final = (
    (0.5, 2.6, 0.6),
    (1.0, 1.8, 1.0),
    (1.2, 1.4, 0.8),
    (1.5, 0.9, 0.35),
    (2.0, 1.0, 0.9),
    (2.66, 0.5, 0.5),
    (3.01, 0.4, 0.4),
    (4.1, 0.25, 0.3),
)


def _tune(rng: Rng, count: int, base_hz: float) -> list[float]:
    """Random walk on a major scale, as frequencies."""
    places = np.cumsum(rng.integers(-2, 3, count)) + int(rng.integers(2, 6))
    return [float(base_hz * 2.0 ** (_MAJOR[p] / 12.0)) for p in np.clip(places, 0, 9)]


@voice("guitar")
def guitar(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Plucked strings: strummed or broken chords on a wooden body."""
    base_hz = rng.uniform(88, 125) * voicing.pitch
    strum = rng.random() < 0.5
    spread_s = 0.018 if strum else rng.uniform(0.16, 0.2) / voicing.pace
    period_s = rng.uniform(0.7, 0.9) / voicing.pace if strum else 5 * spread_s
    length = samples(1.1)

    def chord(_: int) -> Signal:
        out = np.zeros(length + samples(5 * spread_s))
        semitones = _CHORDS[int(rng.integers(0, len(_CHORDS)))]
        for string, semitone in enumerate(semitones):
            sound = pluck(rng, length, base_hz * 2.0 ** (semitone / 12.0), 0.994)
            mix_(out, samples(string * spread_s), sound)
        return out

    sound = sequence(n, onsets(rng, n, period_s, 0.02), chord)
    return lowpass(sound, 3_500.0) + 1.5 * resonate(sound, 110.0, 60.0)


@voice("piano")
def piano(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Struck strings: stretched partials, a hammer, a melody over sparse bass notes."""
    base_hz = rng.uniform(300, 420) * voicing.pitch
    starts = onsets(rng, n, rng.uniform(0.3, 0.42) / voicing.pace, 0.04)
    tune = _tune(rng, len(starts), base_hz)
    length = samples(1.2)
    knock = lowpass(noise(rng, length), 900.0) * decay(length, 0.015)

    def note(frequency_hz: float) -> Signal:
        numbers = np.arange(1, 9)
        partials = frequency_hz * numbers * np.sqrt(1.0 + 0.0006 * numbers**2)
        modes = [
            (float(f), 0.55 / (1.0 + 0.35 * k), 1.0 / (1.0 + k) ** 1.3)
            for k, f in enumerate(partials)
        ]
        return modal(length, modes) * np.minimum(time_s(length) / 0.004, 1.0) + 0.15 * knock

    def struck(index: int) -> Signal:
        out = note(tune[index])
        if index % 3 == 0:
            out += 0.9 * note(base_hz / 3.0 * 2.0 ** (int(rng.choice([0, 5, 7])) / 12.0))
        return out

    return room(rng, sequence(n, starts, struck), 0.12, 0.15)


@voice("organ")
def organ(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Held chords of octave-stacked pipes, gently beating, all notes changing at once."""
    base_hz = rng.uniform(190, 260) * voicing.pitch
    starts = [0, *onsets(rng, n, rng.uniform(0.9, 1.3) / voicing.pace, 0.02)[1:]]
    roots = rng.choice([0, 5, 7, -3, 2], len(starts))
    third = rng.choice([3, 4], len(starts))
    out = np.zeros(n)
    for offset in (np.zeros(len(starts)), third, np.full(len(starts), 7)):
        track = smooth(steps(n, starts, list(base_hz * 2.0 ** ((roots + offset) / 12.0))), 0.003)
        out += harmonics(track, [1.0, 0.9, 0.3, 0.8, 0.0, 0.4, 0.0, 0.6])
        out += 0.7 * harmonics(track * 0.501, [1.0])
    tremulant = 1.0 + 0.18 * np.sin(2 * np.pi * rng.uniform(5.5, 6.8) * time_s(n))
    return room(rng, out * tremulant, 0.3, 0.3)


@voice("drums")
def drums(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """A drum kit: bass drum on one and three, snare on two and four, hi-hat in eighths."""
    eighth_s = rng.uniform(0.22, 0.28) / voicing.pace
    kick_hz = rng.uniform(48, 62) * voicing.pitch
    snare_hz = rng.uniform(170, 220) * voicing.pitch
    length = samples(0.35)
    t = time_s(length)
    kick = 1.6 * np.sin(phase(kick_hz * (1.0 + 2.5 * np.exp(-t / 0.03)))) * decay(length, 0.12)
    snare = 0.6 * highpass(noise(rng, length), 1_200.0) * decay(length, 0.07)
    snare += 0.7 * np.sin(2 * np.pi * snare_hz * t) * decay(length, 0.06)
    hat = 0.4 * highpass(noise(rng, length), 5_500.0) * decay(length, 0.025)
    pattern = [int(rng.random() < p) for p in (1.0, 0.2, 0.0, 0.5, 0.7, 0.2, 0.0, 0.3)]

    def beat(index: int) -> Signal:
        place = index % 8
        return hat + kick * pattern[place] + (snare if place in {2, 6} else 0.0)

    return sequence(n, onsets(rng, n, eighth_s, 0.01), beat)


@voice("bell")
def bell(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """A cast bell: hum, prime, minor third, fifth and nominal, ringing on between strokes."""
    prime_hz = rng.uniform(420, 620) * voicing.pitch
    warp = rng.uniform(0.985, 1.015, len(_BELL))
    modes = [(prime_hz * r * w, d, a) for (r, d, a), w in zip(_BELL, warp, strict=True)]
    # A doublet: no cast bell is round, so each mode beats with its twin.
    modes += [(f * 1.004, d, 0.5 * a) for f, d, a in modes[:3]]
    stroke = modal(min(n, samples(4.0)), modes)
    mix_(stroke, 0, 0.3 * highpass(noise(rng, 800), 2_000.0) * decay(800, 0.01))
    starts = onsets(rng, n, rng.uniform(0.9, 1.6) / voicing.pace, 0.03)
    return sequence(n, starts, lambda _: stroke * rng.uniform(0.8, 1.0))


@voice("violin")
def violin(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """A bowed melody: bright saw-like tone, deep vibrato, slurred notes, body resonances."""
    base_hz = rng.uniform(330, 430) * voicing.pitch
    starts = onsets(rng, n, rng.uniform(0.45, 0.65) / voicing.pace, 0.15)
    track = smooth(steps(n, starts, _tune(rng, len(starts), base_hz)), 0.015)
    vibrato = 0.02 * np.sin(2 * np.pi * rng.uniform(5.2, 6.4) * time_s(n))
    bow = np.full(n, 0.85)
    for start in starts:
        mix_(bow, max(0, start - 800), -0.5 * arch(1_600))
    tone = rich(track * (1.0 + vibrato), 0.86)
    tone += 0.6 * resonate(tone, 470.0, 90.0) + 0.9 * resonate(tone, 2_700.0, 700.0)
    scrape = 0.015 * bandpass(noise(rng, n), 2_000.0, 6_000.0)
    return room(rng, (tone + scrape) * bow * trapezoid(n, 0.09, 0.1), 0.15, 0.2)


@voice("flute")
def flute(rng: Rng, n: int, voicing: Voicing) -> Signal:
    """Tongued notes of few harmonics with breath around them."""
    base_hz = rng.uniform(540, 680) * voicing.pitch
    starts = onsets(rng, n, rng.uniform(0.34, 0.46) / voicing.pace, 0.1)
    tune = _tune(rng, len(starts), base_hz)
    ends = [*starts[1:], n]

    def note(index: int) -> Signal:
        length = max(1_600, ends[index] - starts[index] - 480)
        swell = 1.0 + 0.12 * np.sin(2 * np.pi * 5.0 * time_s(length))
        track = tune[index] * (1.0 + 0.003 * (swell - 1.0) - 0.02 * decay(length, 0.03))
        sound = harmonics(track, [1.0, 0.45, 0.22, 0.06]) * swell
        breath = resonate(noise(rng, length), tune[index] * 2.0, 900.0)
        return (sound + 0.22 * breath) * trapezoid(length, 0.05, 0.05)

    return room(rng, sequence(n, starts, note), 0.2, 0.2)
