"""Calibrations that ship: what a default run of an embedded model need not measure again."""

from dataclasses import replace

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.registry import ADMS_FOLDER
from ptq.adms.sampling import SamplingSettings
from ptq.calibration.folder import CalibrationFolder
from ptq.plan import QuantPlan
from ptq.study_config import CalibrationSettings

SHIPPED_FOLDER = ADMS_FOLDER.parent / "calibrations"


def shipped_calibration(
    adm: AudioDiffusionModel,
    sampling: SamplingSettings,
    wanted: CalibrationSettings,
    plan: QuantPlan,
) -> CalibrationFolder | None:
    """The shipped calibration that is just what measuring would give; ``None`` where none is.

    Args:
        adm: The full-precision model; other weights than those that were calibrated have none.
        sampling: The deployed sampler's settings.
        wanted: Strategy, size and seed of the calibration set.
        plan: What it has to hold everything for.

    Raises:
        PTQError: If the manifest that ships for the model is damaged.
    """
    folder = CalibrationFolder(path=SHIPPED_FOLDER / adm.id)
    if not folder.exists():
        return None
    manifest = folder.manifest()
    if manifest.model_hash != adm.source_hash:
        return None
    if manifest.mismatches(type(adm).__name__, sampling):
        return None
    made_as = replace(folder.settings(), reused="", reused_manifest="")
    return folder if made_as == wanted and folder.serves(plan) else None
