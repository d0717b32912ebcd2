"""New prompts in the neighbourhood of a scene, or with a wanted pair of family and aspect."""

import enum
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ptq.prompts.aspects import Cell, cells_of
from ptq.prompts.grammar import Prompt, caption, draw_event, draw_prompt
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.scene import Distance, Event, Pace, Pitch, Relation, Scene
from ptq.prompts.suites import Suite, suite_of

E = TypeVar("E", bound=enum.Enum)
_TRIES = 400
_JOINED = (Relation.THEN, Relation.WHILE)
_ALONE = (Relation.SINGLE, Relation.REPEATED, Relation.GROWING, Relation.FADING)


def variations(scene: Scene, rng: np.random.Generator) -> Iterator[Prompt]:
    """Endless neighbours of a scene: a slot swapped, a modifier changed, an event added or left."""
    changes = (_other_source, _other_manner, _other_relation, _more_or_fewer)
    while True:
        changed = changes[rng.integers(len(changes))](scene, rng)
        prompt = Prompt(text=caption(changed, rng), scene=changed)
        if suite_of(prompt) is Suite.CALIBRATION:
            yield prompt


def with_cell(cell: Cell, rng: np.random.Generator) -> Iterator[Prompt]:
    """Prompts of the calibration suite that fill a cell; none where the grammar cannot."""
    first = int(rng.integers(1 << 40))
    for seed in range(first, first + _TRIES):
        prompt = draw_prompt(seed)
        if suite_of(prompt) is Suite.CALIBRATION and cell in cells_of(prompt.text):
            yield prompt


def _with_event(scene: Scene, index: int, event: Event) -> Scene:
    events = (*scene.events[:index], event, *scene.events[index + 1 :])
    return replace(scene, events=events)


def _fresh_event(scene: Scene, rng: np.random.Generator) -> Event:
    free = [s for s in default_lexicon().embedded if s.id not in scene.sources]
    return draw_event(rng, free[rng.integers(len(free))])


def _other_source(scene: Scene, rng: np.random.Generator) -> Scene:
    index = int(rng.integers(len(scene.events)))
    return _with_event(scene, index, _fresh_event(scene, rng))


def _other_manner(scene: Scene, rng: np.random.Generator) -> Scene:
    index = int(rng.integers(len(scene.events)))
    event = scene.events[index]
    allowed = default_lexicon()[event.source].attributes
    return _with_event(
        scene,
        index,
        replace(
            event,
            pace=_any(Pace, rng) if "pace" in allowed else Pace.UNSAID,
            pitch=_any(Pitch, rng) if "pitch" in allowed else Pitch.UNSAID,
            distance=_any(Distance, rng),
        ),
    )


def _any(kind: type[E], rng: np.random.Generator) -> E:
    members = list(kind)
    return members[rng.integers(len(members))]


def _other_relation(scene: Scene, rng: np.random.Generator) -> Scene:
    among = _ALONE if len(scene.events) == 1 else _JOINED[: 1 if len(scene.events) > 2 else 2]
    return replace(scene, relation=among[rng.integers(len(among))])


def _more_or_fewer(scene: Scene, rng: np.random.Generator) -> Scene:
    if len(scene.events) == 1:
        joined = _JOINED[rng.integers(len(_JOINED))]
        return Scene(events=(*scene.events, _fresh_event(scene, rng)), relation=joined)
    kept = scene.events[int(rng.integers(len(scene.events)))]
    return Scene(events=(kept,), relation=_ALONE[rng.integers(len(_ALONE))])
