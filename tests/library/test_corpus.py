"""The corpus: scenes rendered as their captions say, from seeds that nobody shares."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from assets.recipe.corpus import (
    SAMPLE_RATE_HZ,
    SEED_OF,
    SEEDS_PER_PURPOSE,
    corpus_clip,
    render_scene,
    single_source_clip,
)
from ptq.metrics.embed.ear import Ear
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.scene import Distance, Event, Relation, Scene

TESTS = SEED_OF["tests"]
SECONDS = 2.56


def rms_db(samples: NDArray[np.float32]) -> float:
    return 10 * float(np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


def rendered(scene: Scene, seed: int = 0) -> NDArray[np.float32]:
    return render_scene(scene, np.random.default_rng([TESTS, seed]), SECONDS)


@pytest.mark.parametrize("offset", range(6))
def test_a_clip_has_its_length_and_is_neither_clipped_nor_silent(offset: int) -> None:
    clip = corpus_clip(TESTS + offset)
    assert clip.samples.dtype == np.float32
    assert clip.samples.shape == (81_920,)
    assert np.abs(clip.samples).max() <= 0.9
    assert rms_db(clip.samples) > -50
    assert clip.text


def test_a_clip_is_deterministic_in_its_seed() -> None:
    first, again, other = (corpus_clip(TESTS + seed, SECONDS) for seed in (0, 0, 1))
    assert np.array_equal(first.samples, again.samples)
    assert (first.text, first.scene) == (again.text, again.scene)
    assert not np.array_equal(first.samples, other.samples)


def test_two_clips_of_one_source_clearly_differ_and_two_sources_more() -> None:
    """By the ear, to which a clip one millisecond later is the same."""
    ear, sources = Ear.load(), [source.id for source in default_lexicon().embedded]
    first, second = (
        [single_source_clip(source, TESTS + seed, SECONDS).samples for source in sources]
        for seed in (0, 1)
    )
    shifted = [np.roll(samples, SAMPLE_RATE_HZ // 1000) for samples in first]
    a, b, c = (ear.embed(clips) for clips in (first, second, shifted))
    within = np.linalg.norm(a - b, axis=1)
    assert within.min() > 2.0 * np.linalg.norm(a - c, axis=1).max()
    between = np.linalg.norm(a[:, None] - b[None], axis=-1)
    np.fill_diagonal(between, np.inf)
    assert np.median(between.min(axis=1)) > 2.0 * np.median(within)


def test_every_purpose_has_seeds_of_its_own() -> None:
    starts = sorted(SEED_OF.values())
    assert set(SEED_OF) >= {"voice", "ear", "judge", "bank", "tests"}
    assert all(b - a >= SEEDS_PER_PURPOSE for a, b in pairwise(starts))


def test_events_in_turn_are_heard_in_their_order() -> None:
    """A hiss has its energy in the highs and a hum in the lows: the halves tell which is when."""

    def brightness(samples: NDArray[np.float32]) -> float:
        power = np.abs(np.fft.rfft(samples)) ** 2
        hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ)
        return float(power[hz > 1500].sum() / power.sum())

    hum, hiss = Event(source="hum"), Event(source="hiss")
    for first, second, rising in ((hum, hiss, True), (hiss, hum, False)):
        samples = rendered(Scene(events=(first, second), relation=Relation.THEN))
        third = len(samples) // 3
        assert (brightness(samples[-third:]) > brightness(samples[:third])) is rising


def test_growing_and_fading_change_the_level_as_they_say() -> None:
    event = Event(source="hum")
    half = int(SECONDS * SAMPLE_RATE_HZ / 2)
    growing = rendered(Scene(events=(event,), relation=Relation.GROWING))
    fading = rendered(Scene(events=(event,), relation=Relation.FADING))
    assert rms_db(growing[half:]) > rms_db(growing[:half]) + 6
    assert rms_db(fading[half:]) < rms_db(fading[:half]) - 6


def test_repeated_events_have_pauses_between_them() -> None:
    samples = rendered(Scene(events=(Event(source="hum"),), relation=Relation.REPEATED))
    frames = np.abs(samples[: len(samples) // 160 * 160].reshape(-1, 160)).max(axis=1)
    loud = frames > 1e-3
    assert 0.5 < loud.mean() < 0.85
    assert np.count_nonzero(np.diff(loud.astype(int)) == 1) >= 1


def test_what_is_far_is_quieter_than_what_is_near() -> None:
    near, far = (
        rendered(Scene(events=(Event(source="hum", distance=distance),)))
        for distance in (Distance.NEAR, Distance.FAR)
    )
    assert rms_db(near) > rms_db(far) + 6
