"""Which words of a prompt the embedded ADMs have never seen, and the sound that comes nearest."""

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ptq.prompts.lexicon import Lexicon, SoundSource, default_lexicon
from ptq.prompts.words import function_words, stem, words_of

_SIMILAR = 0.72


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
    words = dict.fromkeys(words_of(text))
    return tuple(
        UnknownWord(word=word, nearest=_nearest(word, lexicon, sources))
        for word in words
        if not _is_known(word, sources)
    )


def _is_known(word: str, sources: Mapping[str, SoundSource]) -> bool:
    if word in sources or word in function_words():
        return True
    return stem(word) in _stems(frozenset(sources))


def _nearest(word: str, lexicon: Lexicon, sources: Mapping[str, SoundSource]) -> SoundSource | None:
    similar = difflib.get_close_matches(word, list(sources), n=1, cutoff=_SIMILAR)
    if similar:
        return sources[similar[0]]
    silent = next((s for s in lexicon.sources if not s.embedded and word in s.words), None)
    if silent is None:
        return None
    family = [source for source in lexicon.of_family(silent.family) if source.embedded]
    return next((s for s in family if s.temporal == silent.temporal), next(iter(family), None))


@functools.lru_cache(maxsize=4)
def _sources_by_word(lexicon: Lexicon) -> Mapping[str, SoundSource]:
    """Every word that an embedded source, or the place it is heard in, may be described by."""
    found: dict[str, SoundSource] = {}
    for source in lexicon.embedded:
        for word in sorted(source.words - function_words()):
            found.setdefault(word, source)
    for source in lexicon.embedded:
        for word in words_of(" ".join(source.places)):
            found.setdefault(word, source)
    return MappingProxyType(found)


@functools.lru_cache(maxsize=4)
def _stems(words: frozenset[str]) -> frozenset[str]:
    return frozenset(map(stem, words))
