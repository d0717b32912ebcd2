"""Prompt suites with disjoint contents: what calibrates never evaluates.

Prompts unlike the grammar's own are in ``ptq.prompts.slices``.
"""

import enum
from collections.abc import Iterator

from ptq.errors import ConfigError
from ptq.prompts.grammar import Prompt, draw_prompt
from ptq.prompts.lexicon import Lexicon
from ptq.prompts.scene import Relation

_HASH_DIGITS = 8
_MAX_DRAWS = 10_000_000


class Suite(enum.Enum):
    """What a prompt may be used for; the value is the share of scene contents it owns."""

    CALIBRATION = (0.0, 0.3)
    EXPLORATION = (0.3, 0.5)
    FINAL = (0.5, 0.9)
    LONG_FORM = (0.9, 0.95)
    OUT_OF_DISTRIBUTION = (0.95, 1.0)


def suite_of(prompt: Prompt) -> Suite | None:
    """The suite that owns a prompt's scene; ``None`` for a text without a scene."""
    if prompt.scene is None:
        return None
    share = int(prompt.scene.content_hash()[:_HASH_DIGITS], 16) / 16**_HASH_DIGITS
    return next(suite for suite in Suite if suite.value[0] <= share < suite.value[1])


def _draws(suite: Suite, seed: int, lexicon: Lexicon | None) -> Iterator[Prompt]:
    for index in range(_MAX_DRAWS):
        prompt = draw_prompt(seed * _MAX_DRAWS + index, lexicon)
        if suite_of(prompt) is suite:
            yield prompt


def draw_suite(
    suite: Suite, count: int, seed: int, lexicon: Lexicon | None = None
) -> tuple[Prompt, ...]:
    """Draw different prompts from one suite, in the grammar's own distribution.

    Their sounds are those that the lexicon has voiced: the embedded models' own by default. Scenes
    of more than one event are distinct; a single event may come again in another wording.

    Raises:
        ConfigError: If the count is below one or the seed below zero.
    """
    if count < 1 or seed < 0:
        raise ConfigError(
            f"{count} prompts from seed {seed} cannot be drawn; ask for 1 or more, from seed 0 up."
        )
    drawn: dict[str, Prompt] = {}
    for prompt in _draws(suite, seed, lexicon):
        scene = prompt.scene
        plain = scene is not None and scene.relation is Relation.SINGLE
        key = prompt.text if plain or scene is None else scene.content_hash()
        drawn.setdefault(key, prompt)
        if len(drawn) == count:
            break
    return tuple(drawn.values())
