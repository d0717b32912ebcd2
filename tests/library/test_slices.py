"""Prompts outside of what a model was made for: each slice is what its name says."""

import re
from pathlib import Path

import numpy as np
import pytest

from ptq.errors import ConfigError
from ptq.prompts import slices
from ptq.prompts.coverage import named_sources, source_coverage
from ptq.prompts.kinds import KINDS, USUAL
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.scene import Distance, Pace, Pitch
from ptq.prompts.slices import Slice, draw_slice, each_slice
from ptq.prompts.suites import Suite, draw_suite, suite_of

LEXICON = default_lexicon()
COUNT = 40
# What they say is no scene of the grammar.
WITHOUT_SCENE = {
    *(Slice.COUNTING, Slice.NEGATION, Slice.LONG_TEXT, Slice.ONE_WORD),
    *(Slice.EMPTY, Slice.LOUDNESS, Slice.OTHER_LANGUAGES, Slice.ABSTRACT, Slice.ONOMATOPOEIA),
}


@pytest.mark.parametrize("kind", list(Slice))
def test_a_slice_is_as_large_as_asked_and_the_same_for_a_seed(kind: Slice) -> None:
    drawn = draw_slice(kind, COUNT, 3)
    assert len(drawn) == COUNT
    assert drawn == draw_slice(kind, COUNT, 3)
    if kind is not Slice.EMPTY:
        assert drawn != draw_slice(kind, COUNT, 4)


@pytest.mark.parametrize("kind", list(Slice))
def test_no_slice_says_what_another_suite_says(kind: Slice) -> None:
    suites = {suite_of(prompt) for prompt in draw_slice(kind, COUNT, 1)}
    assert suites == ({None} if kind in WITHOUT_SCENE else {Suite.OUT_OF_DISTRIBUTION})


def test_unknown_sources_are_those_that_the_model_has_not_voiced() -> None:
    known = {source.id for source in LEXICON.embedded}
    for prompt in draw_slice(Slice.UNKNOWN_SOURCES, COUNT, 1):
        assert prompt.scene is not None
        assert not known & set(prompt.scene.sources)


def test_a_model_of_all_sounds_has_no_slice_of_unknown_ones() -> None:
    with pytest.raises(ConfigError, match="choose another slice"):
        draw_slice(Slice.UNKNOWN_SOURCES, 1, 0, LEXICON.all_voiced())
    kinds = [kind for kind, _ in each_slice(1, 0, LEXICON.all_voiced())]
    assert kinds == [kind for kind in Slice if kind is not Slice.UNKNOWN_SOURCES]
    assert [kind for kind, _ in each_slice(1, 0, LEXICON)] == list(Slice)


def test_many_events_are_more_than_the_grammar_ever_says() -> None:
    for prompt in draw_slice(Slice.MANY_EVENTS, COUNT, 1):
        assert prompt.scene is not None
        assert len(prompt.scene.events) in {4, 5}
        assert len(source_coverage([prompt.text], LEXICON).named) >= 4


def test_what_no_draw_finds_is_refused() -> None:
    with pytest.raises(ConfigError, match="from seed 123; take another seed"):
        draw_slice(Slice.MANY_EVENTS, 1, 123)


def test_long_texts_are_longer_than_clap_reads() -> None:
    assert all(len(p.text.split()) > 77 for p in draw_slice(Slice.LONG_TEXT, 5, 1))


def test_shapes_of_the_short_and_the_shouted() -> None:
    words = {p.text for seed in range(20) for p in draw_slice(Slice.ONE_WORD, COUNT, seed)}
    assert all(" " not in word and word for word in words)
    assert not words & {"and", "by", "in", "something"}, "words that are heard"
    assert {p.text for p in draw_slice(Slice.EMPTY, COUNT, 1)} == {""}
    assert all(p.text == p.text.upper() for p in draw_slice(Slice.SHOUTED, COUNT, 1))


def test_misspelt_prompts_hold_the_letters_of_their_scene_in_another_order() -> None:
    for seed in range(COUNT):
        right, wrong = (
            draw(np.random.default_rng(seed), LEXICON)
            for draw in (slices._ordinary, slices._misspelt)
        )
        assert wrong.scene == right.scene
        assert sorted(wrong.text) == sorted(right.text)
        assert wrong.text != right.text
    assert len({prompt.text for prompt in draw_slice(Slice.MISSPELT, 3, 1)}) == 3


def test_prompts_say_what_their_slice_is_named_for() -> None:
    def texts(kind: Slice) -> list[str]:
        return [prompt.text for prompt in draw_slice(kind, COUNT, 1)]

    assert all(re.search(r" (two|three|five) times|only once", t) for t in texts(Slice.COUNTING))
    assert all(re.search(r"without any sound|and no |but not ", t) for t in texts(Slice.NEGATION))
    for text in (*texts(Slice.NEGATION), *texts(Slice.REVERSED_ORDER)):
        assert len(named_sources(text, LEXICON)) == 2, text
    assert all(re.search(r"before|after", text) for text in texts(Slice.REVERSED_ORDER))
    assert all(re.search(r"loud|quiet|threshold", text) for text in texts(Slice.LOUDNESS))
    assert all(re.search(r"[<{*\[]", text) for text in texts(Slice.MARKUP))
    for prompt in draw_slice(Slice.RARE_MANNERS, COUNT, 1):
        assert prompt.scene is not None
        for event in prompt.scene.events:
            unsaid = {Pace.UNSAID, Pitch.UNSAID, Distance.UNSAID}
            assert not unsaid & {event.pace, event.pitch, event.distance}


def test_written_texts_come_again_only_when_all_were_there() -> None:
    drawn = [p.text for p in draw_slice(Slice.ABSTRACT, 64, 1)]
    assert len(set(drawn)) == 32
    assert drawn[:32] == drawn[32:]


def test_bad_counts_and_a_damaged_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        draw_slice(Slice.COUNTING, 0, 1)
    damaged = tmp_path / "unusual.yaml"
    damaged.write_text("version: 1\n", encoding="utf-8")
    monkeypatch.setattr(slices, "_UNUSUAL_PATH", damaged)
    slices._written.cache_clear()
    with pytest.raises(ConfigError, match="restore it from git"):
        draw_slice(Slice.ABSTRACT, 1, 0)
    slices._written.cache_clear()


def test_suites_share_all_scenes_among_them() -> None:
    bounds = sorted(suite.value for suite in Suite)
    assert [low for low, _ in bounds] == [0.0, *(high for _, high in bounds[:-1])]
    assert bounds[-1][1] == 1.0
    long = draw_suite(Suite.LONG_FORM, 20, 1)
    assert {suite_of(prompt) for prompt in long} == {Suite.LONG_FORM}


def test_every_kind_has_a_name_but_what_calibrates() -> None:
    assert KINDS[USUAL](3, 1, LEXICON) == draw_suite(Suite.FINAL, 3, 1, LEXICON)
    assert KINDS["long-form"](3, 1, LEXICON) == draw_suite(Suite.LONG_FORM, 3, 1, LEXICON)
    assert {kind.name.lower().replace("_", "-") for kind in Slice} < set(KINDS)
    for draw in KINDS.values():
        suites = {suite_of(prompt) for prompt in draw(3, 1, LEXICON)}
        assert Suite.CALIBRATION not in suites
