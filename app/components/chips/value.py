"""What chips offer; free of Gradio, so that view-models can build it."""

from typing import TypedDict


class ChipGroup(TypedDict):
    """Texts that belong together."""

    name: str
    texts: list[str]


class ChipsValue(TypedDict):
    """All groups; one is open at a time."""

    groups: list[ChipGroup]
