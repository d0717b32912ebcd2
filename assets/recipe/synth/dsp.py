"""Building blocks of the voices: oscillators, noises, filters, envelopes, events and rooms.

Every signal is float64 of shape `(n_samples,)` at `SAMPLE_RATE_HZ`. All randomness comes from the
generator that is handed in.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from assets.recipe.synth.base import SAMPLE_RATE_HZ

Signal = NDArray[np.float64]
Rng = np.random.Generator

_TOP_HZ: Final = 7_600.0  # partials above are left out: they would alias
_FRAME: Final = 256


# --- time -------------------------------------------------------------------------------------


def samples(duration_s: float) -> int:
    """Number of samples in a duration, at least one."""
    return max(1, round(duration_s * SAMPLE_RATE_HZ))


def time_s(n: int) -> Signal:
    """Time axis in seconds."""
    return np.arange(n) / SAMPLE_RATE_HZ


def onsets(rng: Rng, n: int, period_s: float, jitter: float = 0.05) -> list[int]:
    """Start samples of recurring events: the first within 0.15 s, then one per period.

    Args:
        rng: Origin of the first start and of the jitter.
        n: Length of the clip.
        period_s: Mean distance of two events.
        jitter: Standard deviation of a distance, as a share of the period.
    """
    starts = [samples(rng.uniform(0.02, 0.15))]
    while True:
        gap_s = period_s * max(0.3, 1.0 + jitter * rng.standard_normal())
        following = starts[-1] + samples(gap_s)
        if following >= n - samples(0.04):
            return starts
        starts.append(following)


def mix_(target: Signal, start: int, event: Signal) -> None:
    """Add an event to `target` in place, cut where the target ends."""
    stop = min(len(target), start + len(event))
    if stop > start >= 0:
        target[start:stop] += event[: stop - start]


def sequence(n: int, starts: Sequence[int], event: Callable[[int], Signal]) -> Signal:
    """Sum of `event(index)` placed at every start."""
    out = np.zeros(n)
    for index, start in enumerate(starts):
        mix_(out, start, event(index))
    return out


# --- envelopes and slow controls --------------------------------------------------------------


def decay(n: int, decay_s: float, attack_s: float = 0.002) -> Signal:
    """Linear attack, then exponential decay by 1/e per `decay_s`."""
    t = time_s(n)
    rise = np.minimum(t / max(attack_s, 1e-4), 1.0)
    return np.asarray(rise * np.exp(-np.maximum(t - attack_s, 0.0) / decay_s))


def trapezoid(n: int, rise_s: float, fall_s: float) -> Signal:
    """Rise, hold and fall with raised-cosine edges."""
    t = time_s(n)
    edge = np.minimum(t / max(rise_s, 1e-4), (t[-1] - t) / max(fall_s, 1e-4))
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(edge, 0.0, 1.0)))


def arch(n: int) -> Signal:
    """Half a sine: from 0 over 1 to 0."""
    return np.asarray(np.sin(np.pi * np.linspace(0.0, 1.0, n)))


def wander(rng: Rng, n: int, rate_hz: float) -> Signal:
    """Slow random control between −1 and 1 that turns about `rate_hz` times a second."""
    points = max(2, int(np.ceil(n / SAMPLE_RATE_HZ * rate_hz)) + 2)
    at = np.arange(points) * SAMPLE_RATE_HZ / rate_hz - rng.uniform(0, SAMPLE_RATE_HZ / rate_hz)
    return np.interp(np.arange(n), at, rng.uniform(-1.0, 1.0, points))


def smooth(x: Signal, time_constant_s: float) -> Signal:
    """One-pole low-pass that starts at the first value: portamento and soft edges."""
    pole = float(np.exp(-1.0 / (time_constant_s * SAMPLE_RATE_HZ)))
    out, _ = signal.lfilter([1.0 - pole], [1.0, -pole], x, zi=[x[0] * pole])
    return np.asarray(out)


def steps(n: int, starts: Sequence[int], values: Sequence[float]) -> Signal:
    """Staircase that takes `values[i]` from `starts[i]` on (the first value before that)."""
    index = np.searchsorted(np.asarray(starts), np.arange(n), side="right") - 1
    return np.asarray(values, dtype=np.float64)[np.maximum(index, 0)]


# --- oscillators ------------------------------------------------------------------------------


def phase(frequency_hz: Signal) -> Signal:
    """Phase in radians of a moving frequency."""
    return np.asarray(2.0 * np.pi * np.cumsum(frequency_hz) / SAMPLE_RATE_HZ)


def tone(frequency_hz: float, n: int) -> Signal:
    """Sine of a fixed frequency."""
    return np.asarray(np.sin(2.0 * np.pi * frequency_hz * time_s(n)))


def harmonics(frequency_hz: Signal, amplitudes: Sequence[float]) -> Signal:
    """Sum of sines at the multiples of a moving frequency."""
    theta = phase(frequency_hz)
    highest = float(frequency_hz.max())
    out = np.zeros(len(frequency_hz))
    for number, amplitude in enumerate(amplitudes, start=1):
        if amplitude and number * highest < _TOP_HZ:
            out += amplitude * np.sin(number * theta)
    return out


def rich(frequency_hz: Signal, ratio: float) -> Signal:
    """Band-limited harmonic stack with amplitudes `ratio**k`, in closed form (Σ rᵏ sin kθ)."""
    theta = phase(frequency_hz)
    count = max(1, int(_TOP_HZ / float(frequency_hz.max())))
    numerator = ratio * np.sin(theta) - ratio ** (count + 1) * np.sin((count + 1) * theta)
    numerator += ratio ** (count + 2) * np.sin(count * theta)
    return np.asarray((1.0 - ratio) * numerator / (1.0 - 2.0 * ratio * np.cos(theta) + ratio**2))


def buzz(frequency_hz: Signal) -> Signal:
    """Band-limited impulse train: equal cosines up to the top, by Dirichlet's closed form."""
    half = phase(frequency_hz) / 2.0
    count = max(1, int(_TOP_HZ / float(frequency_hz.max())))
    divisor = np.sin(half)
    divisor = np.where(np.abs(divisor) < 1e-6, 1e-6, divisor)
    numerator = np.sin((2 * count + 1) * half)
    return np.asarray((np.clip(numerator / divisor, -1, 2 * count + 1) - 1.0) / (2.0 * count))


def throat(frequency_hz: Signal, formants_hz: Sequence[Signal | float], width: float) -> Signal:
    """Harmonics weighted by moving formants: the voice of an animal.

    Args:
        frequency_hz: Moving fundamental.
        formants_hz: Centre of each formant, fixed or moving; the first is the strongest.
        width: Standard deviation of a formant in octaves.
    """
    theta = phase(frequency_hz)
    count = max(1, min(30, int(_TOP_HZ / float(frequency_hz.max()))))
    out = np.zeros(len(frequency_hz))
    for number in range(1, count + 1):
        weight = np.zeros(len(frequency_hz))
        for rank, centre in enumerate(formants_hz):
            weight += bump(number * frequency_hz, centre, width) / (1.0 + 0.8 * rank)
        out += (weight + 0.02) * np.sin(number * theta)
    return out


def modal(n: int, modes: Sequence[tuple[float, float, float]]) -> Signal:
    """Struck object: decaying sines, each `(frequency_hz, decay_s, amplitude)`."""
    t = time_s(n)
    out = np.zeros(n)
    for frequency_hz, decay_s, amplitude in modes:
        if frequency_hz < _TOP_HZ:
            out += amplitude * np.exp(-t / decay_s) * np.sin(2 * np.pi * frequency_hz * t)
    return out


def pluck(rng: Rng, n: int, frequency_hz: float, damping: float = 0.996) -> Signal:
    """Plucked string: the recurrence of Karplus and Strong (1983) with a linear tuning tap."""
    period = SAMPLE_RATE_HZ / frequency_hz - 0.5
    whole = int(period)
    part = period - whole
    feedback = np.zeros(whole + 3)
    feedback[0] = 1.0
    feedback[whole : whole + 3] = -damping * np.convolve([0.5, 0.5], [1.0 - part, part])
    burst = np.zeros(n)
    length = min(n, whole + 1)
    burst[:length] = rng.uniform(-1.0, 1.0, length)
    return np.asarray(signal.lfilter([1.0], feedback, burst))


# --- noises and filters -----------------------------------------------------------------------


def noise(rng: Rng, n: int) -> Signal:
    """White noise of unit variance."""
    return rng.standard_normal(n)


def bump(frequency_hz: Signal, centre_hz: Signal | float, width: float) -> Signal:
    """Gaussian on a log-frequency axis; `width` is its standard deviation in octaves."""
    octaves = np.log2(np.maximum(frequency_hz, 20.0) / centre_hz)
    return np.asarray(np.exp(-0.5 * (octaves / width) ** 2))


def shaped_noise(rng: Rng, n: int, gain: Callable[[Signal, Signal], Signal]) -> Signal:
    """Noise whose spectrum moves: random frames, weighted and overlap-added.

    The window is a half sine, whose squares add up to one: independent frames keep their power.

    Args:
        rng: Origin of the noise.
        n: Length.
        gain: Magnitude at `time_s` of shape `(frames, 1)` and `frequency_hz` of `(1, bins)`.
    """
    frames = n // _FRAME + 2
    at_s = (np.arange(frames) * _FRAME / SAMPLE_RATE_HZ)[:, None]
    frequency_hz = np.linspace(0.0, SAMPLE_RATE_HZ / 2.0, _FRAME + 1)[None, :]
    spectrum = np.fft.rfft(rng.standard_normal((frames, 2 * _FRAME)), axis=1)
    window = np.sin(np.pi * (np.arange(2 * _FRAME) + 0.5) / (2 * _FRAME))
    blocks = np.fft.irfft(spectrum * gain(at_s, frequency_hz), axis=1) * window
    joined = blocks[1:, :_FRAME] + blocks[:-1, _FRAME:]
    return np.asarray(joined.reshape(-1)[:n])


def lowpass(x: Signal, cutoff_hz: float) -> Signal:
    """Second-order Butterworth low-pass."""
    return np.asarray(signal.sosfilt(_butter(cutoff_hz, "lowpass"), x))


def highpass(x: Signal, cutoff_hz: float) -> Signal:
    """Second-order Butterworth high-pass."""
    return np.asarray(signal.sosfilt(_butter(cutoff_hz, "highpass"), x))


def bandpass(x: Signal, low_hz: float, high_hz: float) -> Signal:
    """High-pass at the lower and low-pass at the upper edge."""
    return lowpass(highpass(x, low_hz), high_hz)


def _butter(cutoff_hz: float, kind: str) -> Signal:
    edge = min(max(cutoff_hz, 20.0), 7_800.0)
    return np.asarray(signal.butter(2, edge, kind, fs=SAMPLE_RATE_HZ, output="sos"))


def resonate(x: Signal, centre_hz: float, bandwidth_hz: float) -> Signal:
    """Two-pole resonator with a peak gain near one."""
    radius = float(np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE_HZ))
    angle = 2.0 * np.pi * min(centre_hz, 7_800.0) / SAMPLE_RATE_HZ
    poles = [1.0, -2.0 * radius * np.cos(angle), radius**2]
    return np.asarray(signal.lfilter([(1 - radius**2) / 2, 0.0, -(1 - radius**2) / 2], poles, x))


def room(rng: Rng, x: Signal, decay_s: float, wet: float) -> Signal:
    """Add the diffuse tail of a room: convolution with decaying noise."""
    n = samples(3.0 * decay_s)
    response = lowpass(noise(rng, n), 4_000.0) * np.exp(-time_s(n) / decay_s)
    response *= wet / np.sqrt(np.sum(response**2))
    return np.asarray(x + signal.oaconvolve(x, response)[: len(x)])
