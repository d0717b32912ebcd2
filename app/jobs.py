"""The job registry: one computation at a time, that outlives a reload of the page.

A browser holds an opaque token and may only see, stop or collect its own jobs. The token is a
capability: it lives in memory, is never written to a file or a log, and is never shown again.
"""

import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Self

from app.job import Job, JobEvent, JobFunction, JobSnapshot, JobState, Outcome
from app.job_progress import Progress
from ptq.errors import ConfigError, PTQError

_TOKEN_BYTES = 16
# Long enough for a page to say that its job was stopped.
_KEEP_LEFT_S = 60.0
_TOKEN_CHARACTERS = 22  # 16 bytes in URL-safe base 64


class QueueFullError(PTQError):
    """More jobs wait than the page accepts."""


class UnknownJobError(PTQError, LookupError):
    """No such job belongs to this visitor."""


def new_token() -> str:
    """Return a fresh 128-bit visitor token, to be kept by the browser only."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


class JobRegistry:
    """Runs jobs one after the other on a single worker thread.

    Use it as a context manager, or call ``close``: both stop the running job.

    Args:
        max_queued: Jobs that may wait behind the running one.
        keep_finished_s: Seconds that a finished job stays known.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        *,
        max_queued: int = 4,
        keep_finished_s: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_queued = max_queued
        self._keep_finished_s = keep_finished_s
        self._clock = clock
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}  # in order of submission
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, token: str, function: JobFunction, *, label: str = "") -> str:
        """Queue a job.

        Args:
            token: The visitor's token, from ``new_token``.
            function: Called as ``function(on_event, should_stop)`` on the worker thread.
            label: What the job is, for the visitor who started it.

        Returns:
            The job's id, random and valid together with ``token`` only.

        Raises:
            QueueFullError: Too many jobs wait already.
            ConfigError: The token is too short to be a secret, or the registry is closed.
        """
        if len(token) < _TOKEN_CHARACTERS:
            raise ConfigError("The visitor's token is too short to be a secret; use new_token().")
        with self._changed:
            if self._closed:
                raise ConfigError("The page is shutting down; start the job again in a minute.")
            self._sweep()
            self._refuse_if_full()
            job = Job(
                id=secrets.token_hex(8),
                token=token,
                label=label,
                function=function,
                progress=Progress(self._clock),
            )
            self._jobs[job.id] = job
            self._changed.notify_all()
            return job.id

    def jobs_of(self, token: str) -> tuple[JobSnapshot, ...]:
        """All jobs of a visitor, newest first: what a reloaded page re-attaches to."""
        with self._changed:
            self._sweep()
            mine = [job for job in reversed(self._jobs.values()) if job.token == token]
            unfinished = self._unfinished()
            return tuple(_snapshot(job, unfinished) for job in mine)

    def get(self, token: str, job_id: str) -> JobSnapshot:
        """The present state of one job.

        Raises:
            UnknownJobError: The visitor has no such job (any more).
        """
        with self._changed:
            return _snapshot(self._own(token, job_id), self._unfinished())

    def stop(self, token: str, job_id: str) -> None:
        """Ask a job to stop: at once if it waits, else at its next ``should_stop``.

        Raises:
            UnknownJobError: The visitor has no such job (any more).
        """
        with self._changed:
            self._request_stop(self._own(token, job_id))

    def wait(self, token: str, job_id: str, *, timeout_s: float) -> JobSnapshot:
        """Block until the job has ended or ``timeout_s`` have passed; return its state then.

        Raises:
            UnknownJobError: The visitor has no such job (any more).
        """
        with self._changed:
            job = self._own(token, job_id)
            self._changed.wait_for(lambda: job.state.has_ended, timeout_s)
            return _snapshot(job, self._unfinished())

    def missing(self, job_ids: Iterable[str]) -> frozenset[str]:
        """Which jobs have ended so long ago that nobody can see them any more."""
        with self._changed:
            self._sweep()
            return frozenset(job_ids) - self._jobs.keys()

    def ended(self, job_ids: Iterable[str]) -> frozenset[str]:
        """Which of some jobs have ended, those that nobody can see any more among them."""
        with self._changed:
            return frozenset(
                job_id
                for job_id in job_ids
                if job_id not in self._jobs or self._jobs[job_id].state.has_ended
            )

    def unfinished(self) -> int:
        """How many jobs, of all visitors, run or wait."""
        with self._changed:
            return len(self._unfinished())

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop every job and the worker; returns after ``timeout_s`` at the latest."""
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                self._request_stop(job)
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            self._run(job)

    def _next_job(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._in_state(JobState.QUEUED))
            waiting = self._in_state(JobState.QUEUED)
            return waiting[0] if waiting else None

    def _run(self, job: Job) -> None:
        with self._changed:
            function = job.function
            if job.state is not JobState.QUEUED or function is None:
                return  # stopped just now
            job.begin()
            self._changed.notify_all()

        def on_event(event: JobEvent) -> None:
            with self._changed:
                job.progress.update(event.stage, event.done, event.total)
                self._changed.notify_all()

        with Outcome() as outcome:
            function(on_event, job.stop.is_set)
        with self._changed:
            job.error = outcome.error
            self._end(job, outcome.state)

    def _request_stop(self, job: Job) -> None:
        if job.state.has_ended:
            return
        job.stop.set()
        if job.state is JobState.QUEUED:
            self._end(job, JobState.CANCELLED)

    def _end(self, job: Job, state: JobState) -> None:
        job.end(state)
        self._changed.notify_all()

    def _in_state(self, state: JobState) -> list[Job]:
        return [job for job in self._jobs.values() if job.state is state]

    def _refuse_if_full(self) -> None:
        running, waiting = self._in_state(JobState.RUNNING), self._in_state(JobState.QUEUED)
        ahead = len(running) + len(waiting)
        # A job that starts at once does not wait, so an idle machine always takes one.
        if ahead <= self._max_queued:
            return
        # How long a whole job takes is not known here: what is left of its stage would mislead.
        jobs = "1 job is" if ahead == 1 else f"{ahead} jobs are"
        raise QueueFullError(
            f"{jobs} ahead of you ({len(running)} running, {len(waiting)} waiting) and no"
            f" more than {self._max_queued} may wait; try again in a few minutes, or run this "
            "page on your own machine, where nobody is ahead."
        )

    def _own(self, token: str, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None or not secrets.compare_digest(job.token.encode(), token.encode()):
            raise UnknownJobError(
                "This job is not known here (any more); start it again, and it picks up where it "
                "was if its files are still there."
            )
        return job

    def _sweep(self) -> None:
        now_s = self._clock()
        for job in [job for job in self._jobs.values() if now_s > self._forget_s(job)]:
            del self._jobs[job.id]

    def _forget_s(self, job: Job) -> float:
        """When an ended job is no longer told of; one that never began leaves nothing to see."""
        progress = job.progress
        if progress.ended_s is None:
            return math.inf
        kept_s = self._keep_finished_s if progress.has_begun else _KEEP_LEFT_S
        return progress.ended_s + min(kept_s, self._keep_finished_s)

    def _unfinished(self) -> list[Job]:
        """In the order in which they run, which is that of the registry."""
        return [job for job in self._jobs.values() if not job.state.has_ended]


def _snapshot(job: Job, unfinished: Sequence[Job]) -> JobSnapshot:
    return job.snapshot(ahead=unfinished.index(job) if job in unfinished else 0)
