"""Which sources a text in anyone's own words is about: "heavy rain and thunder", "dogs barking".

A source is mentioned by its noun, by a synonym, or by a verb that is its own, whatever the ending.
Words that only say where ("in a car") or what kind ("a police siren") mention nothing. This is a
guess: the caption grammar's own phrases are found exactly, by ``ptq.prompts.coverage``.
"""

import functools
import re
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType

from ptq.prompts.lexicon import Lexicon, SoundSource
from ptq.prompts.words import function_words, stem, words_of

_PLACES = re.compile(
    r"\b(?:in|inside|at|on|into|onto|down|under|over|across|outside|through|along|behind)\s+"
    r"(?:(?:an?|the|his|her|their|its|some)\s+[a-z-]+(?:\s+[a-z-]+)?|[a-z-]+)"
)
# Nouns of sources that are told by their verbs alone.
_ANYONE = frozenset({"person", "group", "people", "someone", "something"})
# More sources than this share a verb that says nothing by itself, such as "plays".
_MANY = 3


@dataclass(frozen=True, kw_only=True)
class _Clues:
    """Stems that speak for one source.

    Attributes:
        noun: Of its noun phrase; all have to be there.
        verb: Of the verb's first word.
        synonyms: Of each synonym; any will do.
        tells: Whether the verb alone is enough.
    """

    noun: frozenset[str]
    verb: str
    synonyms: tuple[frozenset[str], ...]
    tells: bool

    def named_in(self, stems: Set[str]) -> frozenset[str]:
        """The stems of the noun and of synonyms that are there as a whole."""
        whole = (each for each in (self.noun, *self.synonyms) if each and each <= stems)
        return frozenset[str]().union(*whole)

    def found_in(self, stems: Set[str]) -> frozenset[str]:
        """The stems that speak for the source; empty where they do not suffice."""
        named = self.named_in(stems)
        return named | ({self.verb} & stems) if named or self.tells else frozenset()


def mentioned_sources(text: str, lexicon: Lexicon) -> frozenset[str]:
    """Ids of the sources that the words of a text most probably mean.

    The source that most words speak for is taken first; among equals one that is named, one that
    acts as it does, the earlier one, an embedded one. Its words mean nothing else, nor does the
    word before them, or a verb after.
    """
    words = words_of(_PLACES.sub(",", text.lower()))
    stems = ["" if word in function_words() else stem(word) for word in words]
    if not any(stems):
        return frozenset()
    clues, by_stem = _clues_of(lexicon)
    verbs = frozenset(each.verb for each in clues.values())
    found: set[str] = set()
    while True:
        free = frozenset(stems) - {""}
        near = dict.fromkeys(source for one in free for source in by_stem.get(one, ()))
        seen = {source: clues[source].found_in(free) for source in near}
        ranks = {
            source: (
                *(len(words), bool(clues[source].named_in(free)), clues[source].verb in words),
                *(-min(map(stems.index, words)), source.embedded),
            )
            for source, words in seen.items()
            if words
        }
        if not ranks:
            return frozenset(found)
        best = max(ranks, key=lambda source: ranks[source])
        found.add(best.id)
        stems = _without(stems, seen[best], verbs)


def _without(stems: list[str], taken: Set[str], verbs: Set[str]) -> list[str]:
    """Blank what is taken, what stands right before it, and a verb right after."""
    gone = {i for i, one in enumerate(stems) if one in taken}
    acts = {i for i, one in enumerate(stems) if one in verbs and i - 1 in gone}
    gone |= acts | {i - 1 for i in gone}
    return ["" if i in gone else one for i, one in enumerate(stems)]


@functools.lru_cache(maxsize=4)
def _clues_of(
    lexicon: Lexicon,
) -> tuple[Mapping[SoundSource, _Clues], Mapping[str, tuple[SoundSource, ...]]]:
    """Clues by source, and the sources that a stem may speak for, in the lexicon's order."""
    owners = Counter(_verb(source) for source in lexicon.sources)
    clues: dict[SoundSource, _Clues] = {}
    by_stem: dict[str, list[SoundSource]] = {}
    for source in lexicon.sources:
        noun = _stems(source.noun)
        anyone = not noun
        clues[source] = _Clues(
            noun=noun,
            verb=_verb(source),
            synonyms=tuple(_stems(synonym) for synonym in source.synonyms),
            tells=owners[_verb(source)] <= (_MANY if anyone else 1),
        )
        for one in {*noun, _verb(source)}.union(*clues[source].synonyms):
            by_stem.setdefault(one, []).append(source)
    frozen = {one: tuple(sources) for one, sources in by_stem.items()}
    return MappingProxyType(clues), MappingProxyType(frozen)


def _stems(phrase: str) -> frozenset[str]:
    meaningless = function_words() | _ANYONE
    return frozenset(stem(word) for word in words_of(phrase) if word not in meaningless)


def _verb(source: SoundSource) -> str:
    return stem(words_of(source.verb)[0])
