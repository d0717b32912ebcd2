"""Prompts outside of what a model was made for, kind by kind.

Quantization is calibrated on what the grammar says. Each slice leaves that in one way, so that a
weakness can be named. Scenes of the grammar that appear in a slice are of a suite of their own:
none was calibrated, explored or judged on. (The empty prompt was: guidance asks every model about
it.) No family is held out as a whole, and slices that are written have some thirty texts.
"""

import enum
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import yaml

from ptq.errors import ConfigError
from ptq.prompts.grammar import Prompt, caption, draw_event
from ptq.prompts.lexicon import LEXICON_PATH, Lexicon, SoundSource, default_lexicon
from ptq.prompts.scene import Distance, Event, Pace, Pitch, Relation, Scene
from ptq.prompts.suites import Suite, draw_suite, suite_of
from ptq.prompts.words import function_words

_UNUSUAL_PATH = LEXICON_PATH.with_name("unusual.yaml")
_FEWEST_LONG_WORDS = 80  # CLAP's text encoders read 77 tokens
_TRIES = 100
_COUNTS = ("exactly two times", "exactly three times", "exactly five times", "only once")
_LOUDNESS = (
    "{a}, deafeningly loud",
    "{a}, so quiet that it can hardly be heard",
    "an unbearably loud recording of {np} {gerund}",
    "{a}, at the threshold of hearing",
)
_MARKUP = (
    "<b>{a}</b> \N{SPEAKER WITH THREE SOUND WAVES}",
    "{{{a}}}",
    "**{a}** \\n ;--",
    "[{a}](x)",
)
_NEGATIONS = ("{a}, without any sound of {other}", "{a} and no {other}", "{a}, but not {other}")
_REVERSALS = ("before {b}, {a}", "{b}, but {a} before that", "{b} after {a}")


class Slice(enum.Enum):
    """In which way a prompt is unlike those that a model was made for.

    Sounds that a model does not know are of every family, music and speech among them.
    """

    UNKNOWN_SOURCES = "sounds it does not know"
    MANY_EVENTS = "four or five events"
    COUNTING = "a number of times"
    NEGATION = "what is not heard"
    REVERSED_ORDER = "order against the words"
    RARE_MANNERS = "pace, pitch and distance at once"
    LONG_TEXT = "longer than the text encoder reads"
    ONE_WORD = "one word"
    EMPTY = "nothing"
    MISSPELT = "misspelt"
    SHOUTED = "capitals without punctuation"
    LOUDNESS = "extreme loudness"
    MARKUP = "markup and emoji"
    OTHER_LANGUAGES = "other languages"
    ABSTRACT = "nothing audible"
    ONOMATOPOEIA = "onomatopoeia"


_Draw = Callable[[np.random.Generator, Lexicon], Prompt]


def draw_slice(
    kind: Slice, count: int, seed: int, lexicon: Lexicon | None = None
) -> tuple[Prompt, ...]:
    """Draw prompts of one slice.

    Texts differ as long as the slice has that many; those of few words come again, in turn.

    Args:
        kind: In which way they are unusual.
        count: How many.
        seed: Of every draw.
        lexicon: Its voiced sounds are those the model knows; the embedded models' own by default.

    Raises:
        ConfigError: If the count is below one, or nothing of the slice is found.
    """
    lexicon = lexicon or default_lexicon()
    if count < 1 or seed < 0:
        raise ConfigError(
            f"{count} prompts from seed {seed} cannot be drawn; ask for 1 or more, from seed 0 up."
        )
    if kind in _WRITTEN:
        texts = _written()[_WRITTEN[kind]]
        order = np.random.default_rng(seed).permutation(len(texts))
        return tuple(Prompt(text=texts[order[i % len(texts)]]) for i in range(count))
    if kind is Slice.EMPTY:
        return (Prompt(text=""),) * count
    if kind is Slice.UNKNOWN_SOURCES:
        return draw_suite(Suite.OUT_OF_DISTRIBUTION, count, seed, _unknown(lexicon))
    return _distinct(_DRAWS[kind], count, seed, lexicon)


def _distinct(draw: _Draw, count: int, seed: int, lexicon: Lexicon) -> tuple[Prompt, ...]:
    """Different texts, or in turn those that there are."""
    rng = np.random.default_rng(seed)
    found: dict[str, Prompt] = {}
    for _ in range(_TRIES * count):
        prompt = draw(rng, lexicon)
        if suite_of(prompt) in {None, Suite.OUT_OF_DISTRIBUTION}:
            found.setdefault(prompt.text, prompt)
        if len(found) == count:
            break
    if not found:
        raise ConfigError(f"No such prompt was drawn from seed {seed}; take another seed.")
    prompts = tuple(found.values())
    return tuple(prompts[i % len(prompts)] for i in range(count))


def _unknown(lexicon: Lexicon) -> Lexicon:
    swapped = tuple(replace(s, embedded=not s.embedded) for s in lexicon.sources)
    unknown = replace(lexicon, sources=swapped)
    if not unknown.embedded:
        raise ConfigError(
            "This model is not said to leave any sound of the lexicon out; choose another slice."
        )
    return unknown


def _source(rng: np.random.Generator, lexicon: Lexicon) -> SoundSource:
    return lexicon.embedded[rng.integers(len(lexicon.embedded))]


def _pair(rng: np.random.Generator, lexicon: Lexicon) -> tuple[SoundSource, SoundSource]:
    first, second = rng.choice(len(lexicon.embedded), size=2, replace=False)
    return lexicon.embedded[first], lexicon.embedded[second]


def _clause(source: SoundSource) -> str:
    return f"{source.noun} {source.verb}"


def _pick(rng: np.random.Generator, forms: tuple[str, ...]) -> str:
    return forms[rng.integers(len(forms))]


def _ordinary(rng: np.random.Generator, lexicon: Lexicon) -> Prompt:
    return draw_suite(Suite.OUT_OF_DISTRIBUTION, 1, int(rng.integers(1 << 30)), lexicon)[0]


def _chain(rng: np.random.Generator, lexicon: Lexicon, count: int) -> Prompt:
    picks = rng.choice(len(lexicon.embedded), size=count, replace=False)
    events = tuple(draw_event(rng, lexicon.embedded[i]) for i in picks)
    scene = Scene(events=events, relation=Relation.THEN)
    return Prompt(text=caption(scene, rng, lexicon), scene=scene)


def _many_events(rng: np.random.Generator, lexicon: Lexicon) -> Prompt:
    return _chain(rng, lexicon, int(rng.integers(4, 6)))


def _long_text(rng: np.random.Generator, lexicon: Lexicon) -> Prompt:
    words: list[str] = []
    while len(words) < _FEWEST_LONG_WORDS:
        words += _many_events(rng, lexicon).text.split()
    return Prompt(text=" ".join(words))


def _counting(rng: np.random.Generator, lexicon: Lexicon) -> Prompt:
    return Prompt(text=f"{_clause(_source(rng, lexicon))} {_pick(rng, _COUNTS)}")


def _negation(rng: np.random.Generator, lexicon: Lexicon) -> Prompt:
    first, second = _pair(rng, lexicon)
    other = f"{second.noun} {second.gerund}"
    return Prompt(text=_pick(rng, _NEGATIONS).format(a=_clause(first), other=other))


def _reversed_order(rng: np.random.Generator, lexicon: Lexicon) -> Prompt:
    first, second = _pair(rng, lexicon)
    text = _pick(rng, _REVERSALS).format(a=_clause(first), b=_clause(second))
    # What is heard is a scene like any other: it must not be one of another suite.
    events = (Event(source=first.id), Event(source=second.id))
    return Prompt(text=text, scene=Scene(events=events, relation=Relation.THEN))


def _rare_manners(rng: np.random.Generator, lexicon: Lexicon) -> Prompt:
    able = [s for s in lexicon.embedded if {"pace", "pitch"} <= set(s.attributes)]
    picks = rng.choice(len(able), size=2, replace=False)
    events = tuple(
        Event(
            source=able[pick].id,
            pace=(Pace.SLOW, Pace.FAST)[rng.integers(2)],
            pitch=(Pitch.LOW, Pitch.HIGH)[rng.integers(2)],
            distance=(Distance.NEAR, Distance.FAR)[rng.integers(2)],
        )
        for pick in picks
    )
    scene = Scene(events=events, relation=Relation.THEN)
    return Prompt(text=caption(scene, rng, lexicon), scene=scene)


def _one_word(rng: np.random.Generator, lexicon: Lexicon) -> Prompt:
    words = sorted(_source(rng, lexicon).words - function_words())
    return Prompt(text=words[rng.integers(len(words))])


def _misspelt(rng: np.random.Generator, lexicon: Lexicon) -> Prompt:
    ordinary = _ordinary(rng, lexicon)
    letters = list(ordinary.text)
    for _ in range(max(1, len(letters) // 10)):
        i = int(rng.integers(len(letters) - 1))
        letters[i], letters[i + 1] = letters[i + 1], letters[i]
    return replace(ordinary, text="".join(letters))


def _shouted(rng: np.random.Generator, lexicon: Lexicon) -> Prompt:
    ordinary = _ordinary(rng, lexicon)
    return replace(ordinary, text=ordinary.text.replace(",", "").upper())


def _loudness(rng: np.random.Generator, lexicon: Lexicon) -> Prompt:
    source = _source(rng, lexicon)
    form = _pick(rng, _LOUDNESS)
    return Prompt(text=form.format(a=_clause(source), np=source.noun, gerund=source.gerund))


def _markup(rng: np.random.Generator, lexicon: Lexicon) -> Prompt:
    ordinary = _ordinary(rng, lexicon)
    return replace(ordinary, text=_pick(rng, _MARKUP).format(a=ordinary.text))


_DRAWS: Mapping[Slice, _Draw] = MappingProxyType(
    {
        Slice.MANY_EVENTS: _many_events,
        Slice.COUNTING: _counting,
        Slice.NEGATION: _negation,
        Slice.REVERSED_ORDER: _reversed_order,
        Slice.RARE_MANNERS: _rare_manners,
        Slice.LONG_TEXT: _long_text,
        Slice.ONE_WORD: _one_word,
        Slice.MISSPELT: _misspelt,
        Slice.SHOUTED: _shouted,
        Slice.LOUDNESS: _loudness,
        Slice.MARKUP: _markup,
    }
)
_WRITTEN = MappingProxyType(
    {
        Slice.OTHER_LANGUAGES: "other_languages",
        Slice.ABSTRACT: "abstract",
        Slice.ONOMATOPOEIA: "onomatopoeia",
    }
)


@functools.cache
def _written() -> Mapping[str, tuple[str, ...]]:
    try:
        raw = yaml.safe_load(_UNUSUAL_PATH.read_text(encoding="utf-8"))
        return {name: tuple(raw[name]) for name in _WRITTEN.values()}
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"The prompts in {_UNUSUAL_PATH.name} cannot be read ({error}); restore it from git."
        ) from error


def each_slice(
    count: int, seed: int, lexicon: Lexicon
) -> Iterator[tuple[Slice, tuple[Prompt, ...]]]:
    """Every slice that this lexicon has, with its prompts."""
    for kind in Slice:
        if kind is Slice.UNKNOWN_SOURCES and len(lexicon.embedded) == len(lexicon.sources):
            continue
        yield kind, draw_slice(kind, count, seed, lexicon)
