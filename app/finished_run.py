"""A finished run, read from its folder."""

from dataclasses import dataclass
from pathlib import Path

from ptq.audio import AudioClip, read_clip, read_generated
from ptq.calibration.folder import CalibrationFolder
from ptq.calibration.manifest import CalibrationManifest
from ptq.clipping import Clipping, clippings, read_counts
from ptq.errors import ConfigError
from ptq.observers import CalibrationStats
from ptq.plan import QuantPlan, read_plan
from ptq.report import Report, read_report
from ptq.results import PairRecord
from ptq.run_folder import REPORT_NAME, RunFolder
from ptq.stages import CALIBRATION, PLAN, QUANTIZED


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run with a report.

    Attributes:
        id: What the page calls it.
        path: Its folder.
        report: What it found.
        is_example: Whether every visitor sees it.
    """

    id: str
    path: Path
    report: Report
    is_example: bool = False

    @classmethod
    def read(cls, path: Path, *, run_id: str, is_example: bool = False) -> "FinishedRun":
        """Read a run folder.

        Raises:
            CheckpointError: The report is of another schema or damaged.
        """
        report = read_report(path / REPORT_NAME)
        return cls(id=run_id, path=path, report=report, is_example=is_example)

    @property
    def title(self) -> str:
        """What a list of runs shows."""
        report, n = self.report, len(self.report.pairs)
        steps = report.settings.get("steps", "?")
        prompts = "1 prompt" if n == 1 else f"{n} prompts"
        example = "Example: " if self.is_example else ""
        return f"{example}{report.plan.name} · {report.adm.id} · {prompts} · {steps} steps"

    def pair(self, index: int) -> PairRecord:
        """One pair.

        Raises:
            ConfigError: There is none of that number.
        """
        if index not in range(len(self.report.pairs)):
            raise ConfigError("This run has no such pair; choose one from the list.")
        return self.report.pairs[index]

    def clips(self, index: int) -> tuple[AudioClip, AudioClip]:
        """The clips of a pair, full precision first.

        Raises:
            CheckpointError: A file is missing or no audio.
        """
        pair = self.pair(index)
        return read_clip(self.path / pair.reference), read_clip(self.path / pair.quantized)

    def generated(self, index: int) -> tuple[AudioClip, AudioClip]:
        """The clips of a pair as the models made them: NaN where there was no sound to write.

        Raises:
            CheckpointError: A file is missing or no audio.
        """
        pair = self.pair(index)
        full, quantized = (self.path / name for name in (pair.reference, pair.quantized))
        return read_generated(full), read_generated(quantized)

    def plan(self) -> QuantPlan:
        """What was done to every layer.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        return read_plan(self.path / PLAN)

    def calibration(self) -> CalibrationManifest | None:
        """What calibration was made of; ``None`` where the plan needed none."""
        folder = CalibrationFolder(path=self.path / CALIBRATION)
        return folder.manifest() if folder.exists() else None

    def stats(self) -> CalibrationStats:
        """Activation statistics; empty where the plan needed none."""
        folder = CalibrationFolder(path=self.path / CALIBRATION)
        return folder.stats() if folder.exists() else {}

    def clipped(self) -> tuple[Clipping, ...]:
        """What static ranges cut off of each layer's input; empty where that was not counted."""
        return tuple(clippings(read_counts(RunFolder(path=self.path), QUANTIZED)).values())
