"""The words of a prompt, and what is left of them without their endings."""

import bisect
import functools
import re

_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
LENGTHS = ("short", "medium", "long")
_MOST_WORDS = (6, 14)
_ENDINGS = ("ing", "es", "ed", "s")
_SHORTEST_STEM = 3
# What English words end in twice without an ending: bell, purr, hiss, buzz, tree. "Dogg" is none.
_OFTEN_DOUBLED = "eflrsz"

# What the caption grammar says besides the sources.
_GRAMMAR_WORDS = """
    slowly slow unhurriedly quickly fast rapidly pace low-pitched deep low high-pitched shrill high
    pitch tone loudly close by right here in the distance far away faintly then followed first after
    that while as and at same time again several times with pauses repeatedly growing louder coming
    closer fading fainter sound of
"""
# Words that carry no sound: a prompt may hold them without meaning more or less.
_STOP_WORDS = """
    a an the is are was were be been being it its this these those there some many one two three few
    more very quite rather or but also not no on off from to into onto over under through along near
    behind outside inside up down out for before during until when where which who sounds noise
    noises recording hear heard hearing someone something somebody people person i we you my
    your his her their loud quiet soft softly gentle gently distant background foreground short
    long
"""


def plain_text(text: str) -> str:
    """A text without what makes no other prompt of it: case, and how words are spaced."""
    return " ".join(text.lower().split())


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, in order."""
    return _WORD.findall(text.lower())


def length_class(text: str) -> str:
    """One of ``LENGTHS``, by the number of words."""
    return LENGTHS[bisect.bisect_left(_MOST_WORDS, len(words_of(text)))]


@functools.cache
def function_words() -> frozenset[str]:
    """Words that say how, where and when, but not what is heard."""
    return frozenset((_GRAMMAR_WORDS + _STOP_WORDS).split())


def stem(word: str) -> str:
    """The word without an English ending, a letter doubled at its end, or a final e."""
    if word.endswith("ies") and len(word) > _SHORTEST_STEM + 1:
        return word.removesuffix("ies") + "y"
    stripped = (word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending))
    rest = next((each for each in stripped if len(each) >= _SHORTEST_STEM), word)
    doubled = len(rest) > _SHORTEST_STEM and rest[-1] == rest[-2]
    if doubled and (rest != word or rest[-1] in _OFTEN_DOUBLED):
        rest = rest[:-1]
    return rest.removesuffix("e") if len(rest) > _SHORTEST_STEM else rest
