"""Prompts that the embedded models understand, taken from the lexicon."""

import functools

from app.components.chips.value import ChipGroup, ChipsValue
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.suites import Suite, draw_suite

_MIXED = "mixed"
_MIXED_COUNT = 8
_FIRST = ("dog", "rain")


@functools.cache
def suggestions(into: str) -> ChipsValue:
    """One prompt for every source by family, and scenes of several events.

    Args:
        into: Element id of the text box that picked prompts go to.
    """
    lexicon = default_lexicon()
    groups = [
        (family, [f"{s.noun} {s.verb}" for s in lexicon.of_family(family) if s.embedded])
        for family in lexicon.families
    ]
    scenes = draw_suite(Suite.EXPLORATION, _MIXED_COUNT * 4, seed=0)
    several = [p.text for p in scenes if p.scene is not None and len(p.scene.events) > 1]
    groups.append((_MIXED, several[:_MIXED_COUNT]))
    found: list[ChipGroup] = [{"name": n, "texts": texts} for n, texts in groups if texts]
    return {"groups": found, "into": into}


def starting_prompts(at_most: int) -> str:
    """What the prompt box holds at first, a few prompts or fewer."""
    first = [default_lexicon()[name] for name in _FIRST[:at_most]]
    return "\n".join(f"{source.noun} {source.verb}" for source in first)
