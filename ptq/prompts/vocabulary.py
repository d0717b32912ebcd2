"""Which words of a prompt the embedded ADMs have never seen, and the sound that comes nearest."""

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ptq.prompts.lexicon import Lexicon, SoundSource, default_lexicon

_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_SIMILAR = 0.72
_ENDINGS = ("ing", "es", "ed", "s")
_SHORTEST_STEM = 3

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


@dataclass(frozen=True, kw_only=True)
class UnknownWord:
    """A word that no caption of the training corpus held.

    Attributes:
        word: In lower case.
        nearest: The source with the most similar word; ``None`` where nothing is similar.
    """

    word: str
    nearest: SoundSource | None


def unknown_words(text: str, lexicon: Lexicon | None = None) -> tuple[UnknownWord, ...]:
    """Return the words of a prompt that an embedded ADM cannot know, in order, each once."""
    lexicon = lexicon or default_lexicon()
    sources = _sources_by_word(lexicon)
    words = dict.fromkeys(_WORD.findall(text.lower()))
    return tuple(
        UnknownWord(word=word, nearest=_nearest(word, lexicon, sources))
        for word in words
        if not _is_known(word, sources)
    )


def _is_known(word: str, sources: Mapping[str, SoundSource]) -> bool:
    if word in sources or word in _function_words():
        return True
    return _stem(word) in _stems(frozenset(sources))


def _nearest(word: str, lexicon: Lexicon, sources: Mapping[str, SoundSource]) -> SoundSource | None:
    similar = difflib.get_close_matches(word, list(sources), n=1, cutoff=_SIMILAR)
    if similar:
        return sources[similar[0]]
    silent = next((s for s in lexicon.sources if not s.embedded and word in s.words), None)
    if silent is None:
        return None
    family = [source for source in lexicon.of_family(silent.family) if source.embedded]
    return next((s for s in family if s.temporal == silent.temporal), next(iter(family), None))


@functools.cache
def _function_words() -> frozenset[str]:
    return frozenset((_GRAMMAR_WORDS + _STOP_WORDS).split())


@functools.lru_cache(maxsize=4)
def _sources_by_word(lexicon: Lexicon) -> Mapping[str, SoundSource]:
    """Every word that an embedded source, or the place it is heard in, may be described by."""
    found: dict[str, SoundSource] = {}
    for source in lexicon.embedded:
        for word in sorted(source.words - _function_words()):
            found.setdefault(word, source)
    for source in lexicon.embedded:
        for word in _WORD.findall(" ".join(source.places)):
            found.setdefault(word, source)
    return MappingProxyType(found)


@functools.lru_cache(maxsize=4)
def _stems(words: frozenset[str]) -> frozenset[str]:
    return frozenset(map(_stem, words))


def _stem(word: str) -> str:
    """The word without an English ending, the consonant doubled before it, or a final e."""
    ending = next((e for e in _ENDINGS if word.endswith(e)), "")
    stem = word.removesuffix(ending)
    if not ending or len(stem) < _SHORTEST_STEM:
        stem = word
    elif len(stem) > _SHORTEST_STEM and stem[-1] == stem[-2]:
        stem = stem[:-1]
    return stem.removesuffix("e") if len(stem) > _SHORTEST_STEM else stem
