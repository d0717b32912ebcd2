"""The component of the job bar."""

from pathlib import Path
from typing import Any

from app.components.job_bar.value import JobBarValue
from app.components.static_html import StaticHTML


class JobBar(StaticHTML):
    """Stage, n of N, time passed and time left, with a Stop button that raises ``stop``.

    Args:
        value: What it shows at first; ``None`` shows nothing.
        options: What every Gradio component takes, such as ``elem_id`` and ``visible``.
    """

    def __init__(
        self,
        value: JobBarValue | None = None,
        **options: Any,  # noqa: ANN401 - Gradio's own
    ) -> None:
        super().__init__(
            value or {"state": "idle"},
            folder=Path(__file__).parent,
            name="bar",
            scripts=("bar",),
            **options,
        )
