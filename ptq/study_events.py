"""How a study speaks to whoever runs it."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class Stage(enum.StrEnum):
    """Stages of a study, in order."""

    PLAN = "plan"
    REFERENCE = "reference"
    CALIBRATE = "calibrate"
    QUANTIZE = "quantize"
    ESTIMATE = "quantized clips"
    SECOND_SEED = "second seed"
    SCORE = "score"
    REPORT = "report"


@dataclass(frozen=True, kw_only=True)
class StudyEvent:
    """Progress of one stage; ``artefact`` is a file that now exists."""

    stage: Stage
    done: int
    total: int
    artefact: Path | None = None


OnEvent = Callable[[StudyEvent], None]


def ignore_event(event: StudyEvent) -> None:
    """The default for ``on_event``."""
