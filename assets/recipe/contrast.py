"""Captions that a clip does not deserve: one thing in the scene is changed, the wording is not."""

import dataclasses
import enum

import numpy as np

from ptq.prompts.grammar import caption
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.scene import Event, Pace, Pitch, Relation, Scene


class Swap(enum.Enum):
    """What a wrong caption gets wrong."""

    SOURCE = "source"
    ORDER = "order"
    ATTRIBUTE = "attribute"


_OTHER_PACE = {Pace.SLOW: Pace.FAST, Pace.FAST: Pace.SLOW}
_OTHER_PITCH = {Pitch.LOW: Pitch.HIGH, Pitch.HIGH: Pitch.LOW}


def _opposites(event: Event) -> list[Event]:
    """The event with its pace, or its pitch, the other way round; none where neither is said."""
    events = []
    if event.pace in _OTHER_PACE:
        events.append(dataclasses.replace(event, pace=_OTHER_PACE[event.pace]))
    if event.pitch in _OTHER_PITCH:
        events.append(dataclasses.replace(event, pitch=_OTHER_PITCH[event.pitch]))
    return events


def possible_swaps(scene: Scene) -> tuple[Swap, ...]:
    """What can be got wrong about a scene and heard; distance is mostly level, which the ear
    does not hear.
    """
    swaps = [Swap.SOURCE]
    if scene.relation is Relation.THEN:
        swaps.append(Swap.ORDER)
    if any(_opposites(event) for event in scene.events):
        swaps.append(Swap.ATTRIBUTE)
    return tuple(swaps)


def swapped(scene: Scene, swap: Swap, rng: np.random.Generator) -> Scene:
    """The scene with one thing changed.

    Raises:
        ValueError: If the scene does not allow the swap.
    """
    if swap not in possible_swaps(scene):
        raise ValueError(f"{scene.relation} allows no {swap.value} swap; see possible_swaps().")
    if swap is Swap.ORDER:
        return dataclasses.replace(scene, events=scene.events[::-1])
    events = list(scene.events)
    if swap is Swap.SOURCE:
        place = int(rng.integers(len(events)))
        others = [s.id for s in default_lexicon().embedded if s.id not in scene.sources]
        # Attributes of the old source may not apply to the new one.
        events[place] = Event(
            source=others[rng.integers(len(others))], distance=events[place].distance
        )
    else:
        choices = [(i, other) for i, event in enumerate(events) for other in _opposites(event)]
        place, opposite = choices[rng.integers(len(choices))]
        events[place] = opposite
    return dataclasses.replace(scene, events=tuple(events))


def wrong_caption(scene: Scene, rng: np.random.Generator, swap: Swap | None = None) -> str:
    """Caption of a scene with one thing swapped; None draws which."""
    swaps = possible_swaps(scene)
    # Half of the chances go to the fine differences, which most scenes do not allow.
    chosen = swap or swaps[-1 - int(rng.integers(len(swaps)))]
    return caption(swapped(scene, chosen, rng), rng)
