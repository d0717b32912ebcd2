"""The caption grammar: draws scenes and says exactly what is heard in them.

Captions are our own; no dataset's captions are used. Everything is deterministic from
``(GRAMMAR_VERSION, seed)``.
"""

from dataclasses import dataclass

import numpy as np

from ptq.prompts.lexicon import Lexicon, SoundSource, default_lexicon
from ptq.prompts.scene import Distance, Event, Pace, Pitch, Relation, Scene

GRAMMAR_VERSION = 1

_PACE_WORDS = {
    Pace.SLOW: ("slowly", "at a slow pace", "unhurriedly"),
    Pace.FAST: ("quickly", "fast", "rapidly"),
}
_PITCH_WORDS = {
    Pitch.LOW: ("low-pitched", "deep"),
    Pitch.HIGH: ("high-pitched", "shrill"),
}
# "someone" and "something" take no adjective.
_PITCH_PHRASES = {
    Pitch.LOW: ("at a low pitch", "in a low tone"),
    Pitch.HIGH: ("at a high pitch", "in a high tone"),
}
_DISTANCE_WORDS = {
    Distance.NEAR: ("loudly", "close by", "right here"),
    Distance.FAR: ("in the distance", "far away", "faintly"),
}
_JOINS: dict[Relation, tuple[str, ...]] = {
    Relation.THEN: ("{a}, then {b}", "{a}, followed by {b_ing}", "first {a}, after that {b}"),
    Relation.WHILE: ("{a} while {b}", "{a} as {b}", "{a} and {b} at the same time"),
}
_TAILS: dict[Relation, tuple[str, ...]] = {
    Relation.SINGLE: ("{a}",),
    Relation.REPEATED: ("{a} again and again", "{a} several times, with pauses", "{a} repeatedly"),
    Relation.GROWING: ("{a}, growing louder", "{a}, coming closer"),
    Relation.FADING: ("{a}, fading away", "{a}, growing fainter"),
}
_SINGLE_FORMS = ("{np} {verb}", "{np} {gerund}", "the sound of {np} {gerund}")
# Shares of the relations among drawn scenes; THEN may hold two or three events.
_RELATION_SHARES = {
    Relation.SINGLE: 0.46,
    Relation.THEN: 0.18,
    Relation.WHILE: 0.14,
    Relation.REPEATED: 0.10,
    Relation.GROWING: 0.06,
    Relation.FADING: 0.06,
}
_THREE_EVENTS_SHARE = 0.25
_ATTRIBUTE_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A caption and, where our grammar wrote it, the scene that it describes."""

    text: str
    scene: Scene | None = None


def draw_event(rng: np.random.Generator, source: SoundSource) -> Event:
    """Draw what is said of one event; an attribute the source ignores is never said."""

    def said(attribute: str) -> bool:
        return attribute in source.attributes and rng.random() < _ATTRIBUTE_SHARE

    pace = (Pace.SLOW, Pace.FAST)[rng.integers(2)] if said("pace") else Pace.UNSAID
    pitch = (Pitch.LOW, Pitch.HIGH)[rng.integers(2)] if said("pitch") else Pitch.UNSAID
    far = rng.random() < _ATTRIBUTE_SHARE
    distance = (Distance.NEAR, Distance.FAR)[rng.integers(2)] if far else Distance.UNSAID
    return Event(source=source.id, pace=pace, pitch=pitch, distance=distance)


def draw_scene(rng: np.random.Generator, lexicon: Lexicon | None = None) -> Scene:
    """Draw a scene of sources that the embedded ADMs can voice."""
    sources = (lexicon or default_lexicon()).embedded
    relations = list(_RELATION_SHARES)
    relation = relations[rng.choice(len(relations), p=list(_RELATION_SHARES.values()))]
    count = 1
    if relation in _JOINS:
        three = relation is Relation.THEN and rng.random() < _THREE_EVENTS_SHARE
        count = 3 if three else 2
    picks = rng.choice(len(sources), size=count, replace=False)
    return Scene(events=tuple(draw_event(rng, sources[i]) for i in picks), relation=relation)


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[rng.integers(len(words))]


def _takes_adjective(source: SoundSource) -> bool:
    return not source.noun.startswith(("someone", "something"))


def _noun_phrase(rng: np.random.Generator, source: SoundSource, event: Event) -> str:
    if event.pitch is Pitch.UNSAID or not _takes_adjective(source):
        return source.noun
    adjective = _pick(rng, _PITCH_WORDS[event.pitch])
    for article in ("a ", "an ", "the "):
        if source.noun.startswith(article):
            shown = "the" if article == "the " else "a"
            return f"{shown} {adjective} {source.noun.removeprefix(article)}"
    return f"{adjective} {source.noun}"


def _clause(rng: np.random.Generator, lexicon: Lexicon, event: Event, form: str) -> str:
    source = lexicon[event.source]
    noun = _noun_phrase(rng, source, event)
    words = [form.format(np=noun, verb=source.verb, gerund=source.gerund)]
    if event.pitch is not Pitch.UNSAID and not _takes_adjective(source):
        words.append(_pick(rng, _PITCH_PHRASES[event.pitch]))
    if event.pace is not Pace.UNSAID:
        words.append(_pick(rng, _PACE_WORDS[event.pace]))
    if event.distance is not Distance.UNSAID:
        words.append(_pick(rng, _DISTANCE_WORDS[event.distance]))
    return " ".join(words)


def _join(rng: np.random.Generator, lexicon: Lexicon, scene: Scene) -> str:
    finite, participle = "{np} {verb}", "{np} {gerund}"
    text = _clause(rng, lexicon, scene.events[0], finite)
    for index, event in enumerate(scene.events[1:]):
        # "first … after that …" only opens a pair: three events read better as a chain.
        joins = _JOINS[scene.relation][: 2 if len(scene.events) > 2 or index else None]
        join = _pick(rng, joins)
        form = participle if "{b_ing}" in join else finite
        clause = _clause(rng, lexicon, event, form)
        text = join.format(a=text, b=clause, b_ing=clause)
    return text


def caption(scene: Scene, rng: np.random.Generator, lexicon: Lexicon | None = None) -> str:
    """Say in one lower-case English sentence what is heard in a scene."""
    lexicon = lexicon or default_lexicon()
    if scene.relation in _JOINS:
        return _join(rng, lexicon, scene)
    form = _pick(rng, _SINGLE_FORMS if scene.relation is Relation.SINGLE else _SINGLE_FORMS[:2])
    return _pick(rng, _TAILS[scene.relation]).format(a=_clause(rng, lexicon, scene.events[0], form))


def draw_prompt(seed: int, lexicon: Lexicon | None = None) -> Prompt:
    """Draw one prompt, deterministic from ``(GRAMMAR_VERSION, seed)``."""
    rng = np.random.default_rng([GRAMMAR_VERSION, seed])
    scene = draw_scene(rng, lexicon)
    return Prompt(text=caption(scene, rng, lexicon), scene=scene)
