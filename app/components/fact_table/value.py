"""What a fact table shows; free of Gradio, so that view-models can build it."""

from typing import TypedDict


class TableValue(TypedDict, total=False):
    """A table of text.

    Attributes:
        caption: What the rows have in common.
        columns: Headings; an empty list makes a table without a head.
        rows: One list of texts a row; all but the first column are right-aligned when numeric.
        note: How to read it, in a sentence.
        empty: What stands there instead of no rows.
    """

    caption: str
    columns: list[str]
    rows: list[list[str]]
    note: str
    empty: str
