"""A word-level tokenizer for the ear's text tower; the embedded ADM's tokenizer is another."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

MAX_WORDS = 32
PADDING = 0
UNKNOWN = 1
_FIRST_WORD = 2
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Words the text tower was trained on; token `i + 2` is word `i`."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """All words of some texts, in alphabetical order."""
        return cls(words=tuple(sorted({word for text in texts for word in split(text)})))

    @cached_property
    def _token_of(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.words, start=_FIRST_WORD)}

    def __len__(self) -> int:
        return len(self.words) + _FIRST_WORD

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Tokens `(n, longest)`, padded with 0; words beyond the 32nd are dropped."""
        # A text without words is one unknown word: a row of padding has no mean.
        known = [
            [self._token_of.get(word, UNKNOWN) for word in split(text)[:MAX_WORDS]] or [UNKNOWN]
            for text in texts
        ]
        rows = torch.full((len(texts), max(map(len, known), default=1)), PADDING)
        for row, tokens in zip(rows, known, strict=True):
            row[: len(tokens)] = torch.tensor(tokens)
        return rows


def split(text: str) -> list[str]:
    """Lower-case words of a text; digits and punctuation are not words."""
    return _WORD.findall(text.lower())
