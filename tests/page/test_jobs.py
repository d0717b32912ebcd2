"""The job registry: order, limits, stopping, and who may see what."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from app.job import JobFunction, JobSnapshot, JobState, OnEvent, ShouldStop
from app.job_limit import limited
from app.jobs import JobRegistry, QueueFullError, UnknownJobError, new_token
from ptq.errors import Cancelled, ConfigError, MetricError

LONG_S = 10.0  # a bound on waits that end at once when the code is right


@dataclass(frozen=True, kw_only=True)
class Event:
    stage: str
    done: int
    total: int


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Gate:
    """A job that says when it runs and stays until it is let go or stopped."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, on_event: OnEvent, should_stop: ShouldStop) -> str:
        self.entered.set()
        while not self.open.wait(0.005):
            if should_stop():
                raise Cancelled("stopped")
        on_event(Event(stage="end", done=1, total=1))
        return "result"

    def wait_entered(self) -> None:
        assert self.entered.wait(LONG_S)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> Iterator[JobRegistry]:
    with JobRegistry(max_queued=2, keep_finished_s=60.0, clock=clock) as jobs:
        yield jobs


@pytest.fixture
def token() -> str:
    return new_token()


def ended(jobs: JobRegistry, token: str, job_id: str) -> JobSnapshot:
    snapshot = jobs.wait(token, job_id, timeout_s=LONG_S)
    assert snapshot.state.has_ended
    return snapshot


def reporting(*events: Event) -> JobFunction:
    def job(on_event: OnEvent, should_stop: ShouldStop) -> None:
        assert not should_stop()
        for event in events:
            on_event(event)

    return job


def raising(error: Exception) -> JobFunction:
    def job(_on_event: OnEvent, _should_stop: ShouldStop) -> None:
        raise error

    return job


def test_a_finished_job_says_what_it_did(registry: JobRegistry, token: str) -> None:
    events = (
        Event(stage="generate", done=1, total=2),
        Event(stage="generate", done=2, total=2),
    )
    job_id = registry.submit(token, reporting(*events), label="study")
    snapshot = ended(registry, token, job_id)
    assert snapshot.state is JobState.DONE
    assert (snapshot.stage, snapshot.done, snapshot.total) == ("generate", 2, 2)
    assert snapshot.label == "study"


def test_jobs_run_one_at_a_time_in_order(registry: JobRegistry, token: str) -> None:
    gates = [Gate(), Gate(), Gate()]
    ids = [registry.submit(token, gate) for gate in gates]
    for index, gate in enumerate(gates):
        gate.wait_entered()
        assert not any(later.entered.is_set() for later in gates[index + 1 :])
        ahead = [registry.get(token, job_id).ahead for job_id in ids]
        assert ahead == [max(0, place - index) for place in range(3)]
        gate.open.set()
        ended(registry, token, ids[index])


def test_stop_ends_a_running_job_and_lets_the_next_one_run(
    registry: JobRegistry, token: str
) -> None:
    gate, second = Gate(), Gate()
    second.open.set()
    first_id, second_id = registry.submit(token, gate), registry.submit(token, second)
    gate.wait_entered()
    registry.stop(token, first_id)
    assert ended(registry, token, first_id).state is JobState.CANCELLED
    assert ended(registry, token, second_id).state is JobState.DONE


def test_a_running_job_reads_as_stopping_until_it_obeys(registry: JobRegistry, token: str) -> None:
    inside, leave = threading.Event(), threading.Event()

    def deaf(_on_event: OnEvent, _should_stop: ShouldStop) -> None:
        inside.set()
        leave.wait(LONG_S)
        raise Cancelled("at last")

    job_id = registry.submit(token, deaf)
    assert inside.wait(LONG_S)
    registry.stop(token, job_id)
    snapshot = registry.get(token, job_id)
    assert (snapshot.state, snapshot.stopping) == (JobState.RUNNING, True)
    leave.set()
    snapshot = ended(registry, token, job_id)
    assert (snapshot.state, snapshot.stopping) == (JobState.CANCELLED, False)


def test_a_waiting_job_that_is_stopped_never_runs(registry: JobRegistry, token: str) -> None:
    gate, never = Gate(), Gate()
    first_id, second_id = registry.submit(token, gate), registry.submit(token, never)
    gate.wait_entered()
    registry.stop(token, second_id)
    assert registry.get(token, second_id).state is JobState.CANCELLED
    gate.open.set()
    ended(registry, token, first_id)
    last = Gate()
    last.open.set()
    ended(registry, token, registry.submit(token, last))
    assert not never.entered.is_set()


def test_a_full_queue_says_how_many_are_ahead_and_what_to_do(
    registry: JobRegistry, token: str
) -> None:
    first = Gate()
    ids = [registry.submit(token, first)]
    first.wait_entered()
    ids += [registry.submit(new_token(), Gate()) for _ in range(2)]
    assert registry.unfinished() == 3
    with pytest.raises(
        QueueFullError, match=r"3 jobs are ahead.*1 running, 2 waiting.*again in a few minutes"
    ):
        registry.submit(new_token(), Gate())
    assert registry.ended(ids) == frozenset()
    first.open.set()
    ended(registry, token, ids[0])
    assert registry.ended([*ids, "never known"]) == {ids[0], "never known"}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            MetricError("the clip is silent; choose another"),
            r"^the clip is silent; choose another$",
        ),
        (RuntimeError("/secret/place"), r"^The job stopped on an unexpected RuntimeError"),
    ],
    ids=["expected", "unexpected"],
)
def test_a_failed_job_explains_itself_and_the_worker_goes_on(
    registry: JobRegistry, token: str, error: Exception, sentence: str
) -> None:
    snapshot = ended(registry, token, registry.submit(token, raising(error)))
    assert snapshot.state is JobState.FAILED
    assert snapshot.error is not None
    assert re.search(sentence, snapshot.error)
    assert "/secret/place" not in snapshot.error
    follower = Gate()
    follower.open.set()
    assert ended(registry, token, registry.submit(token, follower)).state is JobState.DONE


def test_a_visitor_sees_only_the_own_jobs(registry: JobRegistry, token: str) -> None:
    gate, other = Gate(), new_token()
    job_id = registry.submit(token, gate)
    assert registry.jobs_of(other) == ()
    attempts: list[Callable[[], object]] = [
        lambda: registry.get(other, job_id),
        lambda: registry.stop(other, job_id),
        lambda: registry.wait(other, job_id, timeout_s=0.0),
    ]
    for attempt in attempts:
        with pytest.raises(UnknownJobError, match="not known"):
            attempt()
    gate.open.set()
    assert ended(registry, token, job_id).state is JobState.DONE


def test_a_reloaded_page_finds_its_jobs_newest_first(registry: JobRegistry, token: str) -> None:
    gate = Gate()
    ids = [registry.submit(token, gate), registry.submit(token, Gate())]
    assert [snapshot.id for snapshot in registry.jobs_of(token)] == ids[::-1]


def test_the_token_is_in_no_text_of_a_job(registry: JobRegistry, token: str) -> None:
    registry.submit(token, Gate())
    assert token not in repr(registry.jobs_of(token))
    assert token not in repr(registry._jobs)


@pytest.mark.parametrize("weak", ["", "short", "0" * 21])
def test_a_guessable_token_is_refused(registry: JobRegistry, weak: str) -> None:
    with pytest.raises(ConfigError, match="too short"):
        registry.submit(weak, Gate())


def test_old_results_are_forgotten_and_running_jobs_are_not(
    registry: JobRegistry, clock: Clock, token: str
) -> None:
    quick, slow = Gate(), Gate()
    quick.open.set()
    quick_id = registry.submit(token, quick)
    ended(registry, token, quick_id)
    slow_id = registry.submit(token, slow)
    slow.wait_entered()
    clock.now_s += 59.0
    assert {snapshot.id for snapshot in registry.jobs_of(token)} == {quick_id, slow_id}
    clock.now_s += 2.0
    assert [snapshot.id for snapshot in registry.jobs_of(token)] == [slow_id]


def test_whoever_left_the_queue_is_forgotten_soon(clock: Clock, token: str) -> None:
    gate = Gate()
    with JobRegistry(max_queued=2, keep_finished_s=3600.0, clock=clock) as jobs:
        first = jobs.submit(token, gate)
        left = jobs.submit(token, gate)
        jobs.stop(token, left)
        clock.now_s += 59.0
        assert [job.id for job in jobs.jobs_of(token)] == [left, first]
        clock.now_s += 2.0
        assert [job.id for job in jobs.jobs_of(token)] == [first]
        gate.open.set()


def test_closing_stops_everything(token: str) -> None:
    jobs = JobRegistry()
    gate = Gate()
    ids = [jobs.submit(token, gate), jobs.submit(token, Gate())]
    gate.wait_entered()
    jobs.close(LONG_S)
    assert [jobs.get(token, job_id).state for job_id in ids] == [JobState.CANCELLED] * 2
    with pytest.raises(ConfigError, match="shutting down"):
        jobs.submit(token, Gate())


def test_a_job_whose_time_is_over_is_told_to_stop_and_says_how_to_go_on(
    registry: JobRegistry, clock: Clock, token: str
) -> None:
    def slow(_on_event: OnEvent, should_stop: ShouldStop) -> None:
        assert not should_stop()
        clock.now_s += 60.0
        assert not should_stop()
        clock.now_s += 1.0
        if should_stop():
            raise Cancelled("stopped")

    gate = Gate()
    ids = [registry.submit(token, limited(job, 1, clock=clock)) for job in (slow, gate)]
    late = ended(registry, token, ids[0])
    assert late.state is JobState.FAILED
    assert late.error is not None
    assert "longer than the 60 s that this page gives" in late.error
    gate.wait_entered()
    registry.stop(token, ids[1])
    assert ended(registry, token, ids[1]).state is JobState.CANCELLED, "as the visitor wanted"
    assert limited(gate, None) is gate
