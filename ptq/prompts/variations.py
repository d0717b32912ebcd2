"""New prompts in the neighbourhood of a scene, or with a wanted pair of family and aspect."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ptq.prompts.aspects import Cell, cells_of
from ptq.prompts.grammar import Prompt, caption, draw_event, draw_prompt
from ptq.prompts.lexicon import Lexicon
from ptq.prompts.scene import Distance, Event, Pace, Pitch, Relation, Scene
from ptq.prompts.suites import Suite, suite_of

E = TypeVar("E", bound=enum.Enum)
_TRIES = 400
_JOINED = (Relation.THEN, Relation.WHILE)
_ALONE = (Relation.SINGLE, Relation.REPEATED, Relation.GROWING, Relation.FADING)


@dataclass(frozen=True, kw_only=True)
class Variator:
    """Makes prompts of the calibration suite.

    Attributes:
        lexicon: The sounds that it may use are those voiced.
        rng: Of every draw.
    """

    lexicon: Lexicon
    rng: np.random.Generator

    def near(self, scene: Scene) -> Iterator[Prompt]:
        """Endless neighbours: a slot swapped, a modifier changed, an event added or left out."""
        changes = (self._other_source, self._other_manner, self._other_relation, self._other_count)
        while True:
            changed = changes[self.rng.integers(len(changes))](scene)
            text = caption(changed, self.rng, self.lexicon)
            prompt = Prompt(text=text, scene=changed)
            if suite_of(prompt) is Suite.CALIBRATION:
                yield prompt

    def with_cell(self, cell: Cell) -> Iterator[Prompt]:
        """Prompts that fill a cell; none where the grammar cannot."""
        first = int(self.rng.integers(1 << 40))
        for seed in range(first, first + _TRIES):
            prompt = draw_prompt(seed, self.lexicon)
            if suite_of(prompt) is Suite.CALIBRATION and cell in cells_of(prompt.text):
                yield prompt

    def _any_place(self, scene: Scene) -> int:
        return int(self.rng.integers(len(scene.events)))

    def _fresh_event(self, scene: Scene) -> Event:
        free = [s for s in self.lexicon.embedded if s.id not in scene.sources]
        return draw_event(self.rng, free[self.rng.integers(len(free))])

    def _other_source(self, scene: Scene) -> Scene:
        return _with_event(scene, self._any_place(scene), self._fresh_event(scene))

    def _other_manner(self, scene: Scene) -> Scene:
        index = self._any_place(scene)
        event = scene.events[index]
        allowed = self.lexicon[event.source].attributes
        changed = replace(
            event,
            pace=self._any(Pace) if "pace" in allowed else Pace.UNSAID,
            pitch=self._any(Pitch) if "pitch" in allowed else Pitch.UNSAID,
            distance=self._any(Distance),
        )
        return _with_event(scene, index, changed)

    def _any(self, kind: type[E]) -> E:
        members = list(kind)
        return members[self.rng.integers(len(members))]

    def _other_relation(self, scene: Scene) -> Scene:
        among = _ALONE if len(scene.events) == 1 else _JOINED[: 1 if len(scene.events) > 2 else 2]
        return replace(scene, relation=among[self.rng.integers(len(among))])

    def _other_count(self, scene: Scene) -> Scene:
        if len(scene.events) == 1:
            joined = _JOINED[self.rng.integers(len(_JOINED))]
            return Scene(events=(*scene.events, self._fresh_event(scene)), relation=joined)
        kept = scene.events[self._any_place(scene)]
        return Scene(events=(kept,), relation=_ALONE[self.rng.integers(len(_ALONE))])


def _with_event(scene: Scene, index: int, event: Event) -> Scene:
    events = (*scene.events[:index], event, *scene.events[index + 1 :])
    return replace(scene, events=events)
