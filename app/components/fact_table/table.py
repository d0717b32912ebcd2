"""The component of the fact table."""

from pathlib import Path
from typing import Any

from app.components.fact_table.value import TableValue
from app.components.static_html import StaticHTML


class FactTable(StaticHTML):
    """Shows rows of text.

    Args:
        value: What it shows at first.
        options: What every Gradio component takes, such as ``elem_id`` and ``visible``.
    """

    def __init__(
        self,
        value: TableValue | None = None,
        **options: Any,  # noqa: ANN401 - Gradio's own
    ) -> None:
        super().__init__(
            value or {},
            folder=Path(__file__).parent,
            name="table",
            scripts=("table",),
            **options,
        )
