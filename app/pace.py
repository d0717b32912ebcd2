"""How long a study will take, from how long the last one took on this machine.

Before any has finished here, the default study of an embedded model tells, as it was timed on
another machine. Rounding takes as long as it last took by the same method.
"""

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ptq.errors import CheckpointError, PTQError
from ptq.plan import QuantPlan, read_plan
from ptq.report import Report, read_report
from ptq.results import CalibrationRecord
from ptq.run_folder import REPORT_NAME
from ptq.scheme import Rounding
from ptq.stages import PLAN
from ptq.study_config import StudyConfig
from ptq.study_events import Stage

# Of a calibration clip against a full-precision one: hooks, a second pass, and a third of every
# state to compare what they do to the layers.
_CALIBRATION_COST = 3.0
# Studies that are read when the page starts: more of them tell little, and keep it waiting.
_NEWEST = 50
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
    """What a study will take.

    Attributes:
        seconds: All of it, but for what is left out.
        is_from_here: Whether this machine has ever been timed.
        leaves_out: A way to round that was never timed, and takes long.
    """

    seconds: float
    is_from_here: bool
    leaves_out: Rounding | None = None


@dataclass(kw_only=True)
class _Known:
    """Timings of one model: of its last study, and of the last rounding by each method."""

    work: Work
    timings_s: Mapping[str, float]
    rounding_s: dict[Rounding, float] = field(default_factory=dict)
    is_from_here: bool = False


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

    def remember(self, report: Report, plan: QuantPlan) -> None:
        """Take the timings of a finished study of a plan in."""
        settings, timings_s = report.settings, dict(report.timings_s)
        work = Work.of(
            prompts=len(report.pairs),
            calibration=_measured_prompts(report.calibration),
            steps=settings["steps"],
            seconds=settings["seconds"],
        )
        with self._lock:
            before = self._by_adm.get(report.adm.id)
            # Another machine's rounding stands in until this one has rounded so.
            rounding_s = {} if before is None else dict(before.rounding_s)
            rounding_s[slowest_rounding(plan)] = timings_s.get(Stage.QUANTIZE, 0.0)
            self._by_adm[report.adm.id] = _Known(
                work=work, timings_s=timings_s, rounding_s=rounding_s, is_from_here=True
            )

    def forecast(
        self, config: StudyConfig, plan: QuantPlan, *, calibrates: bool = True
    ) -> Forecast | None:
        """How long a study will take; ``None`` for a model of which no study has been timed.

        Args:
            config: The study.
            plan: What its rules come to.
            calibrates: Whether it measures its ranges itself.
        """
        with self._lock:
            known = self._by_adm.get(config.adm)
        if known is None or known.work.clips <= 0:
            return None
        wanted = Work.of(
            prompts=len(config.prompts),
            calibration=config.calibration.prompts if calibrates else 0,
            steps=config.steps,
            seconds=config.seconds,
        )
        per_clip_s, per_calibration_clip_s = _rates(known)
        rounding = slowest_rounding(plan)
        rounding_s = known.rounding_s.get(rounding)
        work_s = per_clip_s * wanted.clips + per_calibration_clip_s * wanted.calibration_clips
        return Forecast(
            seconds=work_s + (rounding_s or 0.0),
            is_from_here=known.is_from_here,
            # Rounding to nearest takes next to nothing.
            leaves_out=rounding if rounding_s is None and rounding.needs_data else None,
        )


def slowest_rounding(plan: QuantPlan) -> Rounding:
    """The method of a plan that takes longest; they are declared in that order."""
    order = list(Rounding)
    weights = (spec.scheme.weight for spec in plan.layers)
    used = {weight.rounding for weight in weights if weight is not None}
    return max(used, key=order.index, default=Rounding.NEAREST)


def _rates(known: _Known) -> tuple[float, float]:
    """Seconds per unit of clips, and of calibration's."""
    last, timings_s = known.work, known.timings_s
    calibrate_s = timings_s.get(Stage.CALIBRATE, 0.0)
    once_s = timings_s.get(Stage.QUANTIZE, 0.0)
    per_clip_s = (sum(timings_s.values()) - calibrate_s - once_s) / last.clips
    if last.calibration_clips > 0 and calibrate_s > 0:
        return per_clip_s, calibrate_s / last.calibration_clips
    return per_clip_s, _CALIBRATION_COST * timings_s.get(Stage.REFERENCE, 0.0) / last.clips


def _read_paces(file: Path) -> dict[str, _Known]:
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {
            adm: _Known(
                work=Work.of(**pace["work"]),
                timings_s=pace["timings_s"],
                rounding_s={Rounding(pace["rounding"]): pace["timings_s"][Stage.QUANTIZE]},
            )
            for adm, pace in found.items()
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"The paces in {file.name} cannot be read ({error}); restore them from git."
        ) from error


def _measured_prompts(calibration: CalibrationRecord | None) -> int:
    if calibration is None or calibration.taken_over:
        return 0
    return calibration.prompts


def recent_studies(folders: Iterable[Path]) -> list[tuple[Report, QuantPlan]]:
    """The newest readable reports of some run folders with their plans, oldest first."""
    files = [file for folder in folders if (file := folder / REPORT_NAME).is_file()]
    found = []
    for file in sorted(files, key=lambda path: path.stat().st_mtime)[-_NEWEST:]:
        try:
            found.append((read_report(file), read_plan(file.with_name(PLAN))))
        except PTQError:
            continue  # a report of another schema tells nothing about the pace
    return found
