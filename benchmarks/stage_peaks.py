"""The most memory that a process holds in each stage of a study, as Linux counts it."""

import re
from pathlib import Path

from ptq.study_events import StudyEvent

_PROCESS = Path("/proc/self")
_HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_FORGET = "5"  # sets the high water mark back to what is held now


class StagePeaks:
    """Listens to a study, and reads and resets the high water mark wherever a stage ends."""

    def __init__(self) -> None:
        self._stage: str | None = None
        self._peaks: dict[str, int] = {}

    def __call__(self, event: StudyEvent) -> None:
        """Notice that a stage goes on or that another begins."""
        if event.stage.value != self._stage:
            self._close()
            self._stage = event.stage.value

    def finish(self) -> dict[str, int]:
        """Bytes by stage, the present one included."""
        self._close()
        return dict(self._peaks)

    def _close(self) -> None:
        found = _HIGH_WATER.search((_PROCESS / "status").read_text(encoding="ascii"))
        if self._stage is not None and found is not None:
            peak = 1024 * int(found.group(1))
            self._peaks[self._stage] = max(peak, self._peaks.get(self._stage, 0))
        (_PROCESS / "clear_refs").write_text(_FORGET, encoding="ascii")
