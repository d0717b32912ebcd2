"""The component of the layer grid."""

import itertools
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from app.components.static_html import StaticHTML

FLOAT_BITS = 32
"""The width that stands for "kept in float"."""


class LayerRow(TypedDict):
    """One layer.

    Attributes:
        name: Its full name.
        kind: Its type, such as ``Conv2d``.
        weight_bits: Present width of its weights; 32 for float.
        activation_bits: Present width of its input; 32 for float.
        bytes: Size of its weights at these bits.
        sensitivity: How much its error hurts, 0 and up; the column shows only if a row has one.
    """

    name: str
    kind: str
    weight_bits: int
    activation_bits: int
    bytes: int
    sensitivity: NotRequired[float]


class GridOptions(TypedDict):
    """The widths on offer."""

    weight_bits: list[int]
    activation_bits: list[int]


class GridValue(TypedDict):
    """What the grid shows."""

    rows: list[LayerRow]
    options: GridOptions


class _NumberedValue(GridValue):
    revision: int


_NOTHING: GridValue = {"rows": [], "options": {"weight_bits": [], "activation_bits": []}}
_revisions = itertools.count(1)


class LayerGrid(StaticHTML):
    """A table of all layers with a filter, two widths per row, and one edit for all filtered rows.

    It raises ``edited`` with ``pattern`` or ``names``, ``weight_bits`` and ``activation_bits``
    (see ``LayerEdit.from_event``); the handler answers with the new value.

    Args:
        value: What it shows at first.
        options: What every Gradio component takes, such as ``elem_id`` and ``visible``.
    """

    def __init__(
        self,
        value: GridValue | None = None,
        **options: Any,  # noqa: ANN401 - Gradio's own
    ) -> None:
        super().__init__(
            value,
            folder=Path(__file__).parent,
            name="grid",
            scripts=("rows", "grid"),
            **options,
        )

    def postprocess(self, value: GridValue | None) -> _NumberedValue:
        """Number the value: one equal to the last must still undo an edit that was refused."""
        shown = value or _NOTHING
        return {
            "rows": shown["rows"],
            "options": shown["options"],
            "revision": next(_revisions),
        }
