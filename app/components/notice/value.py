"""What a notice says; free of Gradio, so that view-models can build it."""

from enum import StrEnum
from typing import TypedDict


class Tone(StrEnum):
    """How much a notice matters."""

    INFO = "info"
    GOOD = "good"
    WARNING = "warning"
    ERROR = "error"


class NoticeValue(TypedDict, total=False):
    """One notice; without lines nothing is shown.

    Attributes:
        tone: A ``Tone``.
        title: The gist.
        lines: Sentences; any text.
    """

    tone: str
    title: str
    lines: list[str]
