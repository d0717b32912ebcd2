"""The component of the chips."""

from pathlib import Path
from typing import Any

from app.components.chips.value import ChipsValue
from app.components.static_html import StaticHTML


class Chips(StaticHTML):
    """Groups of short texts; a click on one adds it to a text box.

    The browser does it alone: on the way to the server and back, quick clicks would be lost.

    Args:
        value: What it offers at first.
        options: What every Gradio component takes, such as ``elem_id`` and ``visible``.
    """

    def __init__(
        self,
        value: ChipsValue | None = None,
        **options: Any,  # noqa: ANN401 - Gradio's own
    ) -> None:
        super().__init__(
            value or {"groups": [], "into": ""},
            folder=Path(__file__).parent,
            name="chips",
            scripts=("chips",),
            **options,
        )
