"""What chips offer; free of Gradio, so that view-models can build it."""

from typing import TypedDict


class ChipGroup(TypedDict):
    """Texts that belong together."""

    name: str
    texts: list[str]


class ChipsValue(TypedDict):
    """All groups, one of which is open at a time, and where a picked text goes.

    ``into`` is the element id of a text box: each text becomes a line of its own.
    """

    groups: list[ChipGroup]
    into: str
