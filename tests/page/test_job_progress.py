"""Progress of a job: elapsed time, time left, and durations in words."""

import pytest

from app.job_progress import Progress, in_words


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_rate_gives_the_time_left() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.begin()
    progress.update("calibrate", 0, 10)
    assert progress.eta_s() is None
    clock.now_s += 4.0
    progress.update("calibrate", 2, 10)
    assert progress.eta_s() == pytest.approx(16.0)
    clock.now_s += 1.0
    assert progress.eta_s() == pytest.approx(15.0)
    assert progress.elapsed_s() == pytest.approx(5.0)
    clock.now_s += 100.0
    assert progress.eta_s() == 0.0
    progress.update("quantize", 0, 3)
    assert progress.eta_s() is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (40.1, "41 s"), (150, "3 min"), (6000, "2 h")]
)
def test_durations_are_rounded_up(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
