"""The corpus: scenes rendered to clips. No recordings; everything is synthesised from seeds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from assets.recipe.synth import Voicing, render_source
from ptq.prompts.grammar import caption, draw_event, draw_scene
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.scene import Distance, Event, Pace, Pitch, Relation, Scene

CORPUS_VERSION = 1
SAMPLE_RATE_HZ = 16_000
CLIP_SECONDS = 5.12

# First seed of each purpose; a purpose owns SEEDS_PER_PURPOSE seeds, so that no clip is ever
# seen by two of them.
SEEDS_PER_PURPOSE = 10_000_000
SEED_OF = {
    "voice": 0,
    "ear": 1 * SEEDS_PER_PURPOSE,
    "judge": 2 * SEEDS_PER_PURPOSE,
    "bank": 3 * SEEDS_PER_PURPOSE,
    "tests": 4 * SEEDS_PER_PURPOSE,
}

_PACE = {Pace.UNSAID: (0.8, 1.25), Pace.SLOW: (0.5, 0.65), Pace.FAST: (1.6, 2.0)}
_PITCH = {Pitch.UNSAID: (0.85, 1.2), Pitch.LOW: (0.58, 0.7), Pitch.HIGH: (1.45, 1.75)}
_RMS_DB = {Distance.UNSAID: -20.0, Distance.NEAR: -15.0, Distance.FAR: -29.0}
_PEAK = 0.9
_EDGE_S = 0.01


@dataclass(frozen=True, kw_only=True)
class CorpusClip:
    """A rendered scene: samples ``(n_samples,)`` at 16 kHz, and its caption."""

    samples: NDArray[np.float32]
    text: str
    scene: Scene


def _uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(rng.uniform(*bounds))


def _with_edges(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    n = min(int(_EDGE_S * SAMPLE_RATE_HZ), len(samples) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(n) / n)
    shaped = samples.copy()
    shaped[:n] *= ramp
    shaped[-n:] *= ramp[::-1]
    return shaped


def _from_afar(samples: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Air absorbs the highs, and the room answers: low-pass, then a decaying noise tail."""
    sos = signal.butter(1, _uniform(rng, (2200, 3200)), output="sos", fs=SAMPLE_RATE_HZ)
    dull = signal.sosfilt(sos, samples)
    n_tail = int(0.35 * SAMPLE_RATE_HZ)
    tail = rng.standard_normal(n_tail) * np.exp(-np.arange(n_tail) / (0.09 * SAMPLE_RATE_HZ))
    tail *= 0.5 / np.linalg.norm(tail)
    distant: NDArray[np.float64] = dull + signal.oaconvolve(dull, tail)[: len(dull)]
    return distant


def _to_level(samples: NDArray[np.float64], rms_db: float) -> NDArray[np.float64]:
    """Scale to a level by the loudest 0.4 s, so that sparse and dense sounds match."""
    power = signal.oaconvolve(samples**2, np.ones(6400) / 6400, mode="same")
    gain = 10 ** (rms_db / 20) / float(np.sqrt(power.max() + 1e-12))
    return samples * gain


def render_event(event: Event, rng: np.random.Generator, n_samples: int) -> NDArray[np.float64]:
    """Render one event over ``n_samples`` as its attributes say."""
    voicing = Voicing(
        pace=_uniform(rng, _PACE[event.pace]), pitch=_uniform(rng, _PITCH[event.pitch])
    )
    samples = render_source(event.source, rng, n_samples, voicing)
    if event.distance is Distance.FAR:
        samples = _from_afar(samples, rng)
    return _to_level(_with_edges(samples), _RMS_DB[event.distance] + _uniform(rng, (-2, 2)))


def _in_turn(scene: Scene, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    shares = rng.uniform(0.8, 1.2, len(scene.events))
    edges = np.round(n * np.concatenate([[0.0], np.cumsum(shares / shares.sum())])).astype(int)
    parts = [
        render_event(event, rng, int(stop - start))
        for event, start, stop in zip(scene.events, edges[:-1], edges[1:], strict=True)
    ]
    return np.concatenate(parts)


def _repeated(event: Event, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    count = int(rng.integers(2, 4)) if n > 3 * SAMPLE_RATE_HZ else 2
    period = n // count
    sounding = int(period * _uniform(rng, (0.62, 0.72)))
    samples = np.zeros(n)
    for i in range(count):
        samples[i * period : i * period + sounding] = render_event(event, rng, sounding)
    return samples


def _ramp(relation: Relation, n: int) -> NDArray[np.float64]:
    """A rise of 26 dB, or the same fall."""
    gain_db = np.linspace(-26.0, 0.0, n)
    rise = np.asarray(10 ** (gain_db / 20), dtype=np.float64)
    return rise if relation is Relation.GROWING else rise[::-1]


def render_scene(scene: Scene, rng: np.random.Generator, seconds: float) -> NDArray[np.float32]:
    """Render a scene to ``(n_samples,)`` at 16 kHz; never clipped, never silent."""
    n = round(seconds * SAMPLE_RATE_HZ)
    if scene.relation is Relation.THEN:
        mix = _in_turn(scene, rng, n)
    elif scene.relation is Relation.REPEATED:
        mix = _repeated(scene.events[0], rng, n)
    else:
        mix = np.sum([render_event(event, rng, n) for event in scene.events], axis=0)
    if scene.relation in {Relation.GROWING, Relation.FADING}:
        mix = mix * _ramp(scene.relation, n)
    peak = float(np.abs(mix).max())
    return (mix * min(1.0, _PEAK / peak)).astype(np.float32)


def corpus_clip(seed: int, seconds: float = CLIP_SECONDS) -> CorpusClip:
    """Draw, render and caption one clip, deterministic from ``(CORPUS_VERSION, seed)``."""
    rng = np.random.default_rng([CORPUS_VERSION, seed])
    scene = draw_scene(rng)
    samples = render_scene(scene, rng, seconds)
    return CorpusClip(samples=samples, text=caption(scene, rng), scene=scene)


def single_source_clip(source_id: str, seed: int, seconds: float = CLIP_SECONDS) -> CorpusClip:
    """Render one source alone, with drawn attributes."""
    lexicon = default_lexicon()
    rng = np.random.default_rng([CORPUS_VERSION, seed])
    scene = Scene(events=(draw_event(rng, lexicon[source_id]),))
    samples = render_scene(scene, rng, seconds)
    return CorpusClip(samples=samples, text=caption(scene, rng), scene=scene)
