"""What the job bar shows; free of Gradio, so that view-models can build it."""

from typing import TypedDict


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
