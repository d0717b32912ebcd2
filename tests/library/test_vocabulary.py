"""Which words of a prompt are unknown, and what stands near them."""

import pytest

from ptq.prompts.grammar import draw_prompt
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.vocabulary import unknown_words


def test_every_caption_of_the_grammar_is_known() -> None:
    strange = {found.word for seed in range(600) for found in unknown_words(draw_prompt(seed).text)}
    assert strange == set()


@pytest.mark.parametrize(
    "text",
    [
        "dogs bark",
        "A DOG BARKS!",
        "bells toll",
        "someone walked",
        "the sound of 2 dogs barking in a park",
    ],
)
def test_inflected_words_are_known(text: str) -> None:
    assert unknown_words(text) == ()


def test_a_misspelt_word_points_at_the_source_that_was_meant() -> None:
    [found] = unknown_words("a dog barcks")
    assert (found.word, found.nearest) == ("barcks", default_lexicon()["dog"])


def test_a_word_unlike_any_other_has_no_neighbour() -> None:
    [found] = unknown_words("xylotypographic")
    assert found.nearest is None


def test_unknown_words_come_once_and_in_order() -> None:
    found = unknown_words("zzyx and a qqqq, then a zzyx")
    assert [each.word for each in found] == ["zzyx", "qqqq"]
