"""Suggestions for names that nobody knows: what errors offer as the way out."""

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from ptq.errors import UnknownKeyError

_GLOB_SYNTAX = re.compile(r"[.*?\[\]{}!]+")


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the choice that looks most like ``word``; the choices must not be empty."""
    ranked = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.0)
    return ranked[0]


def check_keys(data: Mapping[str, object], allowed: Iterable[str], *, owner: str) -> None:
    """Refuse keys that no schema version knows.

    Raises:
        UnknownKeyError: naming the first unknown key and the nearest right one.
    """
    known = tuple(allowed)
    for key in data:
        if key not in known:
            raise UnknownKeyError(
                f"{owner} has no key '{key}'; the nearest is '{nearest(key, known)}'."
            )


@lru_cache(maxsize=65536)
def _similarity(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()


def nearest_layers(pattern: str, names: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """Return the layer names whose dotted pieces look most like the literal pieces of a glob."""
    pieces = [piece for piece in _GLOB_SYNTAX.split(pattern) if piece]

    def score(name: str) -> float:
        segments = name.split(".")
        return sum(max(_similarity(piece, segment) for segment in segments) for piece in pieces)

    return tuple(sorted(names, key=score, reverse=True)[:count])
