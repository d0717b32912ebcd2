"""The component of the notice."""

from pathlib import Path
from typing import Any

from app.components.notice.value import NoticeValue
from app.components.static_html import StaticHTML


class Notice(StaticHTML):
    """Sentences with a tone.

    Args:
        value: What it says at first.
        options: What every Gradio component takes, such as ``elem_id`` and ``visible``.
    """

    def __init__(
        self,
        value: NoticeValue | None = None,
        **options: Any,  # noqa: ANN401 - Gradio's own
    ) -> None:
        super().__init__(
            value or {},
            folder=Path(__file__).parent,
            name="notice",
            scripts=("notice",),
            **options,
        )
