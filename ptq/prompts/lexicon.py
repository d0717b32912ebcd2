"""The lexicon: which sounds exist, in which families, and the words for them."""

import difflib
import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ptq.errors import ConfigError
from ptq.prompts.words import words_of

LEXICON_PATH = Path(__file__).resolve().parents[2] / "assets" / "lexicon.yaml"
_ARTICLES = ("a ", "an ", "the ")


@dataclass(frozen=True, kw_only=True)
class SoundSource:
    """One kind of sound and the words for it.

    Attributes:
        id: Stable identifier, also the synthesizer's.
        family: One of the lexicon's families.
        noun: Noun phrase, e.g. ``"a dog"``.
        verb: Finite verb phrase that agrees with the noun, e.g. ``"barks"``.
        gerund: Participle of the verb phrase, e.g. ``"barking"``.
        temporal: impulse, repeated, continuous or evolving.
        band: low, mid, high or broadband.
        attributes: What a caption may say of it: ``"pace"``, ``"pitch"``.
        synonyms: Other words a person may use for it.
        places: Where it is typically heard.
        embedded: Whether the embedded ADMs can voice it.
    """

    id: str
    family: str
    noun: str
    verb: str
    gerund: str
    temporal: str
    band: str
    attributes: tuple[str, ...]
    synonyms: tuple[str, ...]
    places: tuple[str, ...]
    embedded: bool

    @property
    def words(self) -> frozenset[str]:
        """Every word that points at this source."""
        phrases = (self.id.replace("_", " "), self.noun, self.verb, self.gerund, *self.synonyms)
        return frozenset(word for phrase in phrases for word in words_of(phrase))

    @functools.cached_property
    def phrases(self) -> tuple[str, str]:
        """How captions name it: noun without its article, and finite verb or participle."""
        noun = self.noun
        for article in _ARTICLES:
            noun = noun.removeprefix(article)
        return f"{noun} {self.verb}".lower(), f"{noun} {self.gerund}".lower()


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """All sound sources, by family."""

    version: int
    families: tuple[str, ...]
    sources: tuple[SoundSource, ...]

    def __getitem__(self, source_id: str) -> SoundSource:
        for source in self.sources:
            if source.id == source_id:
                return source
        near = difflib.get_close_matches(source_id, [source.id for source in self.sources], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see assets/lexicon.yaml."
        raise ConfigError(f"There is no sound source {source_id!r}; {hint}")

    def of_family(self, family: str) -> tuple[SoundSource, ...]:
        """Sources of one family, in the lexicon's order."""
        return tuple(source for source in self.sources if source.family == family)

    def all_voiced(self) -> "Lexicon":
        """The lexicon for a model that may voice everything, as published ones do."""
        voiced = tuple(replace(source, embedded=True) for source in self.sources)
        return replace(self, sources=voiced)

    @property
    def embedded(self) -> tuple[SoundSource, ...]:
        """Sources that the embedded ADMs can voice."""
        return tuple(source for source in self.sources if source.embedded)


def _source(entry: dict[str, Any]) -> SoundSource:
    lists = {key: tuple(entry.get(key, ())) for key in ("attributes", "synonyms", "places")}
    return SoundSource(**{"embedded": False, **entry, **lists})


def read_lexicon(path: Path) -> Lexicon:
    """Read a lexicon file.

    Raises:
        ConfigError: If the file is missing or an entry lacks a field.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        sources = tuple(_source(entry) for entry in raw["sources"])
        families = tuple(raw["families"])
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"The lexicon {path.name} cannot be read ({error}); restore it from git."
        ) from error
    return Lexicon(version=raw["version"], families=families, sources=sources)


@functools.cache
def default_lexicon() -> Lexicon:
    """The lexicon that ships in ``assets/``."""
    return read_lexicon(LEXICON_PATH)
