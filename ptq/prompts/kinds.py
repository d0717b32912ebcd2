"""Every kind of prompts that a model may be judged on, by name: suites, and slices outside them."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ptq.prompts.grammar import Prompt
from ptq.prompts.lexicon import Lexicon
from ptq.prompts.slices import Slice, draw_slice
from ptq.prompts.suites import Suite, draw_suite

Draw = Callable[[int, int, Lexicon | None], tuple[Prompt, ...]]

USUAL = "final"
# What calibrates is no judge, and the scenes kept for slices are theirs.
_SUITES = (Suite.FINAL, Suite.EXPLORATION, Suite.LONG_FORM)


def _named(name: str) -> str:
    return name.lower().replace("_", "-")


# Each draws a number of prompts from a seed, of the sounds that a lexicon has voiced.
KINDS: Mapping[str, Draw] = MappingProxyType(
    {
        **{_named(suite.name): functools.partial(draw_suite, suite) for suite in _SUITES},
        **{_named(kind.name): functools.partial(draw_slice, kind) for kind in Slice},
    }
)
