"""One job: what it is, how it reports, and how it ended."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

from app.job_progress import Progress
from app.messages import message_of
from ptq.errors import Cancelled, PTQError

_LOG = logging.getLogger(__name__)


class JobState(StrEnum):
    """Where a job stands; it only ever moves down this list."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self not in {JobState.QUEUED, JobState.RUNNING}


class JobEvent(Protocol):
    """What a job reports; ``ptq.study_events.StudyEvent`` is one."""

    @property
    def stage(self) -> str:
        """The name of what is going on."""

    @property
    def done(self) -> int:
        """Steps of the stage that are finished."""

    @property
    def total(self) -> int:
        """Steps of the stage."""


OnEvent = Callable[[JobEvent], None]
ShouldStop = Callable[[], bool]
JobFunction = Callable[[OnEvent, ShouldStop], object]


@dataclass(frozen=True, kw_only=True)
class JobSnapshot:
    """One job at one moment, as its visitor may see it.

    Attributes:
        id: The job's id.
        label: What the job is.
        state: Where it stands.
        stopping: A stop was asked for and the job has not ended yet.
        ahead: Jobs before this one while it waits.
        stage: What is going on.
        done: Finished steps of the stage.
        total: Steps of the stage; 0 when unknown.
        elapsed_s: Seconds since it began to run.
        eta_s: Seconds that the stage will still take; ``None`` when unknown.
        error: Why it failed, in a sentence for the visitor.
    """

    id: str
    label: str
    state: JobState
    stopping: bool
    ahead: int
    stage: str
    done: int
    total: int
    elapsed_s: float
    eta_s: float | None
    error: str | None


@dataclass(kw_only=True, eq=False)
class Job:
    """The registry's own record of a job; its lock guards every field but ``stop``."""

    id: str
    token: str = field(repr=False)  # a capability: must not reach a log through a repr
    label: str
    function: JobFunction | None = field(repr=False)
    progress: Progress
    state: JobState = JobState.QUEUED
    stop: threading.Event = field(default_factory=threading.Event)
    error: str | None = None

    def begin(self) -> None:
        """Start to run."""
        self.state = JobState.RUNNING
        self.progress.begin()

    def end(self, state: JobState) -> None:
        """Come to an end."""
        self.state = state
        self.function = None  # frees the model that its closure may hold
        self.progress.end()

    def snapshot(self, *, ahead: int) -> JobSnapshot:
        """Its present state, with ``ahead`` unfinished jobs before it."""
        progress = self.progress
        return JobSnapshot(
            id=self.id,
            label=self.label,
            state=self.state,
            stopping=self.stop.is_set() and not self.state.has_ended,
            ahead=ahead if self.state is JobState.QUEUED else 0,
            stage=progress.stage,
            done=progress.done,
            total=progress.total,
            elapsed_s=progress.elapsed_s(),
            eta_s=progress.eta_s() if self.state is JobState.RUNNING else None,
            error=self.error,
        )


class Outcome:
    """Context manager that records how a job ended, so that no failure can end the worker.

    Attributes:
        state: *done*, *failed* or *cancelled*.
        error: Why it failed, in a sentence for the visitor.
    """

    def __init__(self) -> None:
        self.state = JobState.DONE
        self.error: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, Cancelled):
            self.state = JobState.CANCELLED
        elif isinstance(error, PTQError):
            _LOG.warning("a job failed: %s", error)
            self.state, self.error = JobState.FAILED, message_of(error)
        elif error is not None:
            # The text of a foreign error may hold paths: it goes to the log, not to the visitor.
            _LOG.error("a job failed", exc_info=error)
            self.state = JobState.FAILED
            self.error = (
                f"The job stopped on an unexpected {type(error).__name__}; the server's log has "
                "the details. What was finished is kept: starting again resumes it."
            )
        return error is not None
