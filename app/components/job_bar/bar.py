"""The component of the job bar."""

from pathlib import Path
from typing import Any, TypedDict

from app.components.static_html import StaticHTML


class JobBarValue(TypedDict, total=False):
    """What the bar shows.

    Attributes:
        state: ``idle``, ``stopping``, or a ``JobState``.
        stage: What is going on.
        done: Finished steps of the stage.
        total: Steps of the stage; 0 when unknown.
        elapsed_s: Seconds since the job began; the bar counts on between two values.
        eta_s: Seconds left in this stage, or ``None``.
        message: One sentence: what waits, what was finished, what went wrong and the way out.
    """

    state: str
    stage: str
    done: int
    total: int
    elapsed_s: float
    eta_s: float | None
    message: str


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
