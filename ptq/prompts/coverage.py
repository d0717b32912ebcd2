"""How much of the lexicon a set of prompts names."""

from collections.abc import Iterable
from dataclasses import dataclass

from ptq.prompts.lexicon import Lexicon, default_lexicon
from ptq.prompts.mentions import mentioned_sources


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

    @property
    def shares(self) -> dict[str, float]:
        """Both shares by name, as reports have them."""
        return {"sources": self.share, "families": self.families}


def named_sources(text: str, lexicon: Lexicon | None = None) -> frozenset[str]:
    """Ids of the sources that a text names.

    The caption grammar's own phrases, noun and verb, are found as they stand. Where one is part of
    another, as "someone walks" of "someone walks on gravel", the longer one counts. What other
    words are left may mention sources too: see ``ptq.prompts.mentions``.
    """
    lexicon, rest = lexicon or default_lexicon(), text.lower()
    owners = {phrase: source.id for source in lexicon.sources for phrase in source.phrases}
    found = set[str]()
    for phrase in sorted((p for p in owners if p in rest), key=len, reverse=True):
        if phrase in rest:
            found.add(owners[phrase])
            rest = rest.replace(phrase, ",")
    return mentioned_sources(rest, lexicon).union(found)


def source_coverage(texts: Iterable[str], lexicon: Lexicon | None = None) -> SourceCoverage:
    """Coverage of the lexicon by prompts."""
    lexicon = lexicon or default_lexicon()
    known = frozenset(source.id for source in lexicon.embedded)
    named = frozenset[str]().union(*(named_sources(text, lexicon) for text in texts)) & known
    families = {lexicon[source].family for source in named}
    all_families = {source.family for source in lexicon.embedded}
    return SourceCoverage(named=named, known=known, families=len(families) / len(all_families))
