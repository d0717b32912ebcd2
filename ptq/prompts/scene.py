"""A scene as a value: which sound events happen, how, and in what relation."""

import enum
import hashlib
import json
from dataclasses import dataclass


class Relation(enum.Enum):
    """How the events of a scene relate in time."""

    SINGLE = "single"
    THEN = "then"
    WHILE = "while"
    REPEATED = "repeated"
    GROWING = "growing"
    FADING = "fading"


class Pace(enum.Enum):
    """How fast an event goes."""

    UNSAID = "unsaid"
    SLOW = "slow"
    FAST = "fast"


class Pitch(enum.Enum):
    """How high an event sounds."""

    UNSAID = "unsaid"
    LOW = "low"
    HIGH = "high"


class Distance(enum.Enum):
    """How near an event is: its level, and how much of the room is heard."""

    UNSAID = "unsaid"
    NEAR = "near"
    FAR = "far"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One sounding thing and what is said of it."""

    source: str
    pace: Pace = Pace.UNSAID
    pitch: Pitch = Pitch.UNSAID
    distance: Distance = Distance.UNSAID


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One to three events in one relation."""

    events: tuple[Event, ...]
    relation: Relation = Relation.SINGLE

    @property
    def sources(self) -> tuple[str, ...]:
        """Source ids in the order of the events."""
        return tuple(event.source for event in self.events)

    def content_hash(self) -> str:
        """SHA-256 of what is heard, independent of the caption's wording.

        Prompt suites are kept disjoint by this hash: two captions of one scene never
        fall into calibration and evaluation at once.
        """
        events = [
            [event.source, event.pace.value, event.pitch.value, event.distance.value]
            for event in self.events
        ]
        if self.relation is Relation.WHILE:
            events.sort()
        text = json.dumps([self.relation.value, events])
        return hashlib.sha256(text.encode()).hexdigest()
