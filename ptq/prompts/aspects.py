"""What a prompt is about, by its words: kind of sound, number of events, relation, manner, length.

A *cell* pairs a family of sounds with one aspect, such as (animal, fast). Pairs, not the full
product: a set of prompts with all pairs is small, and one that lacks a pair has a blind spot that
its size hides.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ptq.prompts.coverage import named_sources
from ptq.prompts.lexicon import Lexicon, default_lexicon
from ptq.prompts.words import length_class

Cell = tuple[str, str]
_MANY = 3

_RELATIONS: Mapping[str, str] = MappingProxyType(
    {
        "in turn": r"\bthen\b|\bfollowed by\b|\bafter that\b|\bafterwards\b|\bbefore\b",
        "at once": r"\bwhile\b|\bas\b|\bat the same time\b|\bwith\b.*\bin the background\b",
        "repeated": r"\bagain\b|\brepeatedly\b|\bseveral times\b",
        "growing": r"\bgrowing louder\b|\bcoming closer\b|\bapproach\w*\b",
        "fading": r"\bfading\b|\bfainter\b|\bpassing by\b",
    }
)
_MANNERS: Mapping[str, str] = MappingProxyType(
    {
        "loud": r"\bloud\w*\b|\bclose by\b|\bright here\b",
        "far": r"\b(?:in the distance|far away|faint\w*|distant|quiet\w*|soft\w*)\b",
        "high": r"\bhigh-pitched\b|\bshrill\b|\bhigh (?:pitch|tone)\b",
        "low": r"\blow-pitched\b|\bdeep\b|\blow (?:pitch|tone)\b",
        "fast": r"\bfast\b|\bquick\w*\b|\brapid\w*\b",
        "slow": r"\bslow\w*\b|\bunhurried\w*\b",
        "echoing": r"\becho\w*\b|\breverb\w*\b",
    }
)
_SURROUNDINGS: Mapping[str, str] = MappingProxyType(
    {
        "indoors": (
            r"\b(?:indoors|room|kitchen|hall|house|office|church|corridor|theatre|bathroom|shop)\b"
        ),
        "outdoors": (
            r"\b(?:outdoors|outside|street|forest|garden|field|beach|park|farm|mountain|river)\b"
        ),
        "in a vehicle": r"\b(?:car|bus|cabin|cockpit|carriage)\b",
        "in a crowd": r"\b(?:crowd|audience|party|market|stadium)\b",
    }
)
_PATTERNS = tuple(
    (name, re.compile(pattern))
    for group in (_RELATIONS, _MANNERS, _SURROUNDINGS)
    for name, pattern in group.items()
)


def aspects_of(text: str, lexicon: Lexicon | None = None) -> frozenset[str]:
    """Every aspect that the words of a prompt show."""
    lexicon = lexicon or default_lexicon()
    lowered = text.lower()
    found = {name for name, pattern in _PATTERNS if pattern.search(lowered)}
    events = len(named_sources(lowered, lexicon))
    if events:
        found.add("one event" if events == 1 else "two events" if events < _MANY else "many events")
    found.add(length_class(text))
    return frozenset(found)


def families_of(text: str, lexicon: Lexicon | None = None) -> frozenset[str]:
    """The families of the sounds that a prompt names; empty where none is known."""
    lexicon = lexicon or default_lexicon()
    return frozenset(lexicon[source].family for source in named_sources(text, lexicon))


def cells_of(text: str, lexicon: Lexicon | None = None) -> frozenset[Cell]:
    """Every pair of a family and an aspect that a prompt fills.

    Words are not parsed: of two events, each fills its pairs with the aspects of both.
    """
    aspects = aspects_of(text, lexicon)
    return frozenset((family, a) for family in families_of(text, lexicon) for a in aspects)


def cells_of_all(texts: Iterable[str]) -> tuple[Cell, ...]:
    """The cells that any of many prompts fills, in order."""
    return tuple(sorted(frozenset[Cell]().union(*(cells_of(text) for text in texts))))
