"""The lexicon and the grammar: captions say what is heard, and nothing that is not."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptq.errors import ConfigError
from ptq.prompts.grammar import (
    Prompt,
    caption,
    draw_event,
    draw_prompt,
)
from ptq.prompts.lexicon import SoundSource, default_lexicon, read_lexicon
from ptq.prompts.scene import Distance, Event, Pace, Pitch, Relation, Scene
from ptq.prompts.suites import suite_of

SEEDS = range(300)
LEXICON = default_lexicon()
PITCHED = (
    "low-pitched",
    "deep",
    "high-pitched",
    "shrill",
    "low pitch",
    "low tone",
    "high pitch",
    "high tone",
)


def spoken(prompt: Prompt) -> Scene:
    assert prompt.scene is not None
    return prompt.scene


def mentions(text: str, source: SoundSource) -> bool:
    noun = source.noun.split(" ", 1)[-1]
    return any(word in text for word in (noun, source.verb, source.gerund))


def test_the_lexicon_is_complete() -> None:
    assert len(LEXICON.embedded) >= 40
    assert len(LEXICON.sources) >= 350
    assert LEXICON.all_voiced().embedded == LEXICON.all_voiced().sources
    phrases = Counter(f"{source.noun} {source.verb}" for source in LEXICON.sources)
    assert max(phrases.values()) == 1, phrases.most_common(1)
    times = {"impulse", "repeated", "continuous", "evolving"}
    assert {source.temporal for source in LEXICON.sources} == times
    assert {source.band for source in LEXICON.sources} == {"low", "mid", "high", "broadband"}
    assert len(LEXICON.families) == 7
    assert len({source.id for source in LEXICON.sources}) == len(LEXICON.sources)
    assert all(LEXICON.of_family(family) for family in LEXICON.families)
    assert {source.family for source in LEXICON.sources} == set(LEXICON.families)
    assert all(set(source.attributes) <= {"pace", "pitch"} for source in LEXICON.sources)


def test_an_unknown_source_or_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'speach'; did you mean 'speech'"):
        LEXICON["speach"]
    with pytest.raises(ConfigError, match=r"gone\.yaml cannot be read .* restore it from git"):
        read_lexicon(tmp_path / "gone.yaml")


def test_a_prompt_is_deterministic_in_its_seed() -> None:
    assert [draw_prompt(seed) for seed in range(20)] == [draw_prompt(seed) for seed in range(20)]
    assert len({draw_prompt(seed).text for seed in SEEDS}) > 200


def test_captions_mention_every_source_in_order() -> None:
    for seed in SEEDS:
        prompt = draw_prompt(seed)
        assert prompt.text == prompt.text.strip()
        for source_id in spoken(prompt).sources:
            assert mentions(prompt.text, LEXICON[source_id]), prompt.text


def test_every_relation_is_drawn_with_its_number_of_events() -> None:
    scenes = [spoken(draw_prompt(seed)) for seed in SEEDS]
    assert set(Counter(scene.relation for scene in scenes)) == set(Relation)
    for scene in scenes:
        if scene.relation is Relation.THEN:
            assert len(scene.events) in {2, 3}
        else:
            assert len(scene.events) == (2 if scene.relation is Relation.WHILE else 1)
        assert len(set(scene.sources)) == len(scene.sources)
        assert all(LEXICON[source].embedded for source in scene.sources)


def test_only_what_a_source_obeys_is_said_of_it() -> None:
    rng = np.random.default_rng(0)
    said: Counter[str] = Counter()
    for source in LEXICON.sources:
        for _ in range(20):
            event = draw_event(rng, source)
            assert event.pace is Pace.UNSAID or "pace" in source.attributes
            assert event.pitch is Pitch.UNSAID or "pitch" in source.attributes
            said[event.pitch.value] += 1
            text = caption(Scene(events=(event,)), rng)
            fixed = " ".join((source.noun, source.verb, source.gerund))
            adjectives = [word for word in PITCHED if word in text and word not in fixed]
            assert bool(adjectives) == (event.pitch is not Pitch.UNSAID), text
    assert set(said) == {pitch.value for pitch in Pitch}


def test_a_scene_is_known_by_what_is_heard() -> None:
    dog, rain = Event(source="dog"), Event(source="rain", distance=Distance.FAR)
    then = Scene(events=(dog, rain), relation=Relation.THEN)
    turned = Scene(events=(rain, dog), relation=Relation.THEN)
    both = replace(then, relation=Relation.WHILE)
    assert then.content_hash() != turned.content_hash()
    assert both.content_hash() == replace(turned, relation=Relation.WHILE).content_hash()
    hashes = {
        scene.content_hash()
        for scene in (then, turned, both, Scene(events=(dog,)), Scene(events=(rain,)))
    }
    assert len(hashes) == 5
    assert (
        Scene(events=(dog,)).content_hash() == Scene(events=(Event(source="dog"),)).content_hash()
    )
    assert suite_of(Prompt(text="a text of one's own")) is None
