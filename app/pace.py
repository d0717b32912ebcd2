"""How long a study will take, from how long the last one took on this machine.

Before any has finished here, the default study of an embedded model tells, as it was timed on
another machine.
"""

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ptq.errors import CheckpointError, PTQError
from ptq.report import Report, read_report
from ptq.results import CalibrationRecord
from ptq.run_folder import REPORT_NAME
from ptq.study_config import COMPARING_STRATEGIES, StudyConfig
from ptq.study_events import Stage

# Of a calibration clip against a full-precision one: hooks, a second pass, and a third of every
# state for strategies that compare what states do to the layers.
_CALIBRATION_COST, _COMPARING_COST = 1.8, 3.0
SHIPPED_PACE = Path(__file__).resolve().parents[1] / "assets" / "pace.json"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a study has to do, in units that its time grows with."""

    clips: float
    calibration_clips: float

    @classmethod
    def of(cls, *, prompts: int, calibration: int, steps: int, seconds: float) -> "Work":
        """Clips count by their denoising steps and seconds."""
        unit = steps * seconds
        return cls(clips=prompts * unit, calibration_clips=calibration * unit)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Seconds that a study will take, and whether this machine has ever been timed."""

    seconds: float
    is_from_here: bool


class Pace:
    """Seconds per unit of work, by model; remembers the last study of each.

    Args:
        shipped: File of the paces that ship.

    Raises:
        CheckpointError: The file is damaged.
    """

    def __init__(self, shipped: Path = SHIPPED_PACE) -> None:
        self._lock = threading.Lock()
        self._by_adm = _read_paces(shipped)
        self._timed_here: set[str] = set()

    def remember(self, report: Report) -> None:
        """Take the timings of a finished study in."""
        settings = report.settings
        work = Work.of(
            prompts=len(report.pairs),
            calibration=_measured_prompts(report.calibration),
            steps=settings["steps"],
            seconds=settings["seconds"],
        )
        with self._lock:
            self._by_adm[report.adm.id] = (work, dict(report.timings_s))
            self._timed_here.add(report.adm.id)

    def forecast(self, config: StudyConfig, *, calibrates: bool = True) -> Forecast | None:
        """How long a study will take; ``None`` for a model of which no study has been timed.

        Args:
            config: The study.
            calibrates: Whether it measures its ranges itself.
        """
        with self._lock:
            known, here = self._by_adm.get(config.adm), config.adm in self._timed_here
        if known is None or known[0].clips <= 0:
            return None
        last, timings_s = known
        wanted = Work.of(
            prompts=len(config.prompts),
            calibration=config.calibration.prompts if calibrates else 0,
            steps=config.steps,
            seconds=config.seconds,
        )
        calibrate_s = timings_s.get(Stage.CALIBRATE, 0.0)
        once_s = timings_s.get(Stage.QUANTIZE, 0.0)
        per_clip_s = (sum(timings_s.values()) - calibrate_s - once_s) / last.clips
        compares = config.calibration.strategy in COMPARING_STRATEGIES
        cost = _COMPARING_COST if compares else _CALIBRATION_COST
        rate_s = cost * timings_s.get(Stage.REFERENCE, 0.0) / last.clips
        if last.calibration_clips > 0 and calibrate_s > 0:
            rate_s = calibrate_s / last.calibration_clips
        seconds = per_clip_s * wanted.clips + rate_s * wanted.calibration_clips + once_s
        return Forecast(seconds=seconds, is_from_here=here)


def _read_paces(file: Path) -> dict[str, tuple[Work, Mapping[str, float]]]:
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {adm: (Work.of(**pace["work"]), pace["timings_s"]) for adm, pace in found.items()}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"The paces in {file.name} cannot be read ({error}); restore them from git."
        ) from error


def _measured_prompts(calibration: CalibrationRecord | None) -> int:
    if calibration is None or calibration.taken_over:
        return 0
    return calibration.prompts


def recent_reports(folders: Iterable[Path]) -> list[Report]:
    """The readable reports of some run folders, oldest first."""
    files = [file for folder in folders if (file := folder / REPORT_NAME).is_file()]
    reports = []
    for file in sorted(files, key=lambda path: path.stat().st_mtime):
        try:
            reports.append(read_report(file))
        except PTQError:
            continue  # a report of another schema tells nothing about the pace
    return reports
