"""Coverage of the lexicon by prompts."""

import pytest

from ptq.prompts.coverage import named_sources, source_coverage
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.suites import Suite, draw_suite


def test_every_source_of_a_drawn_prompt_is_named() -> None:
    for prompt in draw_suite(Suite.CALIBRATION, 400, seed=3):
        assert prompt.scene is not None
        assert named_sources(prompt.text) == frozenset(prompt.scene.sources), prompt.text


def test_every_source_names_itself_and_nothing_else() -> None:
    for source in default_lexicon().sources:
        assert named_sources(f"{source.noun} {source.verb} nearby") == {source.id}


def test_captions_of_every_source_name_what_they_describe() -> None:
    lexicon = default_lexicon().all_voiced()
    for prompt in draw_suite(Suite.FINAL, 200, 5, lexicon):
        assert prompt.scene is not None
        assert named_sources(prompt.text, lexicon) == frozenset(prompt.scene.sources), prompt.text


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("Dogs barking in the distance", {"dog"}),
        ("A woman talks as water runs", {"speech", "stream"}),
        ("Heavy rain and thunder", {"rain", "thunder"}),
        ("applause", {"clapping"}),
        ("A car engine revving", {"engine"}),
        ("A man speaking while a dog barks", {"speech", "dog"}),
        ("a baby crying", {"baby_cry"}),
        ("Wind blowing through trees", {"wind"}),
        ("a police siren wailing in a busy street", {"siren"}),
        ("church bells ringing", {"church_bells"}),
        ("a train passing by with its horn blowing", {"train", "car_horn"}),
        ("a helicopter flying overhead", {"helicopter"}),
        ("a cow moos and a rooster crows", {"cow", "rooster"}),
        ("a door creaks open slowly", {"door_creak"}),
        ("people talking in a restaurant", {"speech"}),
        ("a phone rings in a car", {"telephone"}),
        ("a cat purring", {"cat_purr"}),
        ("bells toll", {"bell"}),
        ("Bees buzzing near doorbells", {"bee", "doorbell"}),
        ("seagulls and waterfalls", {"seagull", "waterfall"}),
        ("drills", {"drill"}),
        ("music", set()),
        ("a man sings, then a woman sings", {"singing_man", "singing_woman"}),
        ("someone walks on gravel while someone walks", {"footsteps", "footsteps_gravel"}),
    ],
)
def test_captions_in_anyones_words_mention_their_sources(text: str, sources: set[str]) -> None:
    assert named_sources(text) == sources


def test_a_text_of_other_things_names_nothing() -> None:
    assert named_sources("the colour blue, at rest") == frozenset()


def test_coverage_counts_each_source_and_family_once() -> None:
    lexicon = default_lexicon()
    one = lexicon.embedded[0]
    found = source_coverage([f"{one.noun} {one.verb}", f"the sound of {one.noun} {one.gerund}"])
    assert found.named == frozenset({one.id})
    assert found.share == pytest.approx(1 / len(lexicon.embedded))
    assert found.families == pytest.approx(1 / len(lexicon.families))


def test_all_nouns_cover_everything() -> None:
    lexicon = default_lexicon()
    found = source_coverage(f"{s.noun} {s.verb}" for s in lexicon.embedded)
    assert (found.share, found.families) == (1.0, 1.0)
    assert source_coverage([]).share == 0.0
