"""A calibration on disk: statistics, states and manifest, each file written atomically."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from ptq.adms.sampling import SamplingSettings
from ptq.calibration.calibrator import Calibration, balances_of, serves
from ptq.calibration.manifest import CalibrationManifest
from ptq.calibration.purposes import Purpose
from ptq.calibration.states import StateSet
from ptq.errors import CalibrationError, CheckpointError
from ptq.observers import CalibrationStats, stats_from_tensors, stats_to_tensors
from ptq.plan import QuantPlan
from ptq.run_folder import RunFolder, damage
from ptq.study_config import CalibrationSettings
from ptq.tensor_files import read_tensors, write_tensors

_MANIFEST, _STATS = "manifest.json", "stats.safetensors"


def _states_name(purpose: Purpose) -> str:
    return f"{purpose.value}-states.safetensors"


# The statistics are written last: where they are, the rest is.
_FILES = (
    _MANIFEST,
    *map(_states_name, (Purpose.STATISTICS, Purpose.RECONSTRUCTION)),
    _STATS,
)


@dataclass(frozen=True, kw_only=True)
class CalibrationFolder:
    """Where one calibration lies."""

    path: Path

    @property
    def stats_path(self) -> Path:
        """File of the statistics."""
        return self.path / _STATS

    def exists(self) -> bool:
        """Whether a whole calibration is there."""
        return all((self.path / name).exists() for name in _FILES)

    def serves(self, plan: QuantPlan) -> bool:
        """Whether a calibration is there that holds every range a plan needs."""
        if not self.exists() or self.manifest().balanced != balances_of(plan):
            return False
        return serves(self.stats(), plan)

    def mismatches(self, sampler: str, settings: SamplingSettings) -> tuple[str, ...]:
        """One sentence for each setting in which something is sampled otherwise than calibrated."""
        return self.manifest().mismatches(sampler, settings) if self.exists() else ()

    def settings(self) -> CalibrationSettings:
        """What a study is told that uses this calibration instead of its own.

        Raises:
            PTQError: If the manifest cannot be read.
        """
        manifest = self.manifest()
        return CalibrationSettings(
            strategy=manifest.strategy,
            # The null prompt, which most sets hold beside the others, is not counted.
            prompts=sum(map(bool, manifest.prompts)),
            states=manifest.states,
            reconstruction=manifest.reconstruction,
            covering=manifest.covering,
            seed=manifest.seed,
            reused=str(self.path),
            reused_manifest=manifest.sha256,
        )

    def reuse(self, wanted: CalibrationSettings, plan: QuantPlan, model_hash: str) -> None:
        """Take over the calibration that ``wanted`` names.

        Raises:
            CalibrationError: If it is another than it was, of another model, or lacks ranges.
        """
        other = CalibrationFolder(path=Path(wanted.reused))
        manifest = other.manifest()
        manifest.check_model(model_hash)
        if manifest.sha256 != wanted.reused_manifest:
            raise CalibrationError(
                f"The calibration in {other.path} has changed since it was named; name it again."
            )
        if manifest.balanced != balances_of(plan):
            raise CalibrationError(
                f"The calibration in {other.path} evens out other channels than the plan"
                f" '{plan.name}' (smooth); make one with this plan."
            )
        if not other.serves(plan):
            raise CalibrationError(
                f"The calibration in {other.path} lacks ranges that the plan '{plan.name}' needs;"
                " make one with this plan, or leave it out."
            )
        self.copy_from(other)

    def copy_from(self, other: "CalibrationFolder") -> None:
        """Take over every file of a calibration made elsewhere."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.stats_path.unlink(missing_ok=True)  # where they are, the rest is of the same
        for name in _FILES:
            partial = self.path / f"{name}.partial"
            shutil.copyfile(other.path / name, partial)
            partial.replace(self.path / name)

    def write(self, found: Calibration) -> None:
        """Write everything."""
        self.stats_path.unlink(missing_ok=True)  # as above
        RunFolder(path=self.path).write_text(_MANIFEST, found.manifest.to_json())
        for purpose, states in found.sets.items():
            write_tensors(self.path / _states_name(purpose), states.to_tensors())
        write_tensors(self.stats_path, stats_to_tensors(found.stats))

    def manifest(self) -> CalibrationManifest:
        """What the calibration is made of.

        Raises:
            CalibrationError: If the file is damaged.
            CheckpointError: If it cannot be read.
        """
        path = self.path / _MANIFEST
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(damage(path, error)) from error
        return CalibrationManifest.from_json(text)

    def stats(self) -> CalibrationStats:
        """Statistics of every observed layer.

        Raises:
            CheckpointError: If the file cannot be read.
        """
        return read_tensors(self.stats_path, stats_from_tensors)

    def calibration(self) -> Calibration:
        """Everything, as it was measured.

        Raises:
            PTQError: If a file cannot be read.
        """
        sets = {
            purpose: self.states(purpose)
            for purpose in (Purpose.STATISTICS, Purpose.RECONSTRUCTION)
        }
        return Calibration(stats=self.stats(), sets=sets, manifest=self.manifest())

    def states(self, purpose: Purpose = Purpose.STATISTICS) -> StateSet:
        """The states of one purpose.

        Raises:
            CheckpointError: If their file cannot be read.
        """
        manifest = self.manifest()
        return read_tensors(
            self.path / _states_name(purpose),
            lambda tensors: StateSet.from_tensors(tensors, manifest.prompts, manifest.sampling),
        )
