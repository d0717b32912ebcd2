"""How long a study will take, from how long the last one took on this machine."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ptq.errors import PTQError
from ptq.report import Report, read_report
from ptq.results import CalibrationRecord
from ptq.run_folder import REPORT_NAME
from ptq.study_config import StudyConfig
from ptq.study_events import Stage

# Of a calibration clip against a full-precision one: hooks, a second pass, and a third of every
# state for strategies that compare what states do to the layers.
_CALIBRATION_COST, _COMPARING_COST = 1.8, 3.0
_COMPARING = ("activation-aware", "density-diversity")


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


class Pace:
    """Seconds per unit of work, by model; remembers the last study of each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_adm: dict[str, tuple[Work, Mapping[str, float]]] = {}

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

    def estimate_s(self, config: StudyConfig, *, calibrates: bool = True) -> float | None:
        """Seconds that a study will take; ``None`` before any study of the model has finished.

        Args:
            config: The study.
            calibrates: Whether it measures its ranges itself.
        """
        with self._lock:
            known = self._by_adm.get(config.adm)
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
        compares = config.calibration.strategy in _COMPARING
        cost = _COMPARING_COST if compares else _CALIBRATION_COST
        rate_s = cost * timings_s.get(Stage.REFERENCE, 0.0) / last.clips
        if last.calibration_clips > 0 and calibrate_s > 0:
            rate_s = calibrate_s / last.calibration_clips
        return per_clip_s * wanted.clips + rate_s * wanted.calibration_clips + once_s


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
