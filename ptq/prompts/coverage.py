"""How much of the lexicon a set of prompts names."""

from collections.abc import Iterable
from dataclasses import dataclass

from ptq.prompts.lexicon import Lexicon, SoundSource, default_lexicon

_ARTICLES = ("a ", "an ", "the ")


@dataclass(frozen=True, kw_only=True)
class SourceCoverage:
    """Which of the sources that the embedded ADMs can voice are named.

    Attributes:
        named: Ids of the named sources.
        known: Ids of all.
        families: Share of the sound families with at least one named source.
    """

    named: frozenset[str]
    known: frozenset[str]
    families: float

    @property
    def share(self) -> float:
        """Share of the sources that are named."""
        return len(self.named) / len(self.known)


def named_sources(text: str, lexicon: Lexicon | None = None) -> frozenset[str]:
    """Ids of the sources that a text names as the caption grammar does: noun, then verb."""
    lexicon = lexicon or default_lexicon()
    return frozenset(
        source.id
        for source in lexicon.embedded
        if any(phrase in text.lower() for phrase in _phrases(source))
    )


def source_coverage(texts: Iterable[str], lexicon: Lexicon | None = None) -> SourceCoverage:
    """Coverage of the lexicon by prompts."""
    lexicon = lexicon or default_lexicon()
    named = frozenset[str]().union(*(named_sources(text, lexicon) for text in texts))
    families = {lexicon[source].family for source in named}
    known = frozenset(source.id for source in lexicon.embedded)
    all_families = {source.family for source in lexicon.embedded}
    return SourceCoverage(named=named, known=known, families=len(families) / len(all_families))


def _phrases(source: SoundSource) -> tuple[str, str]:
    noun = source.noun
    for article in _ARTICLES:
        noun = noun.removeprefix(article)
    return f"{noun} {source.verb}", f"{noun} {source.gerund}"
