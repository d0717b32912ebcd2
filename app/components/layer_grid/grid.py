"""The component of the layer grid."""

import itertools
from pathlib import Path
from typing import Any

from app.components.layer_grid.value import GridValue
from app.components.static_html import StaticHTML


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
