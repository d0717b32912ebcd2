"""Plans whose bits follow the sensitivities that ship with a model."""

from app.shipped_sensitivities import read_sensitivities
from ptq.adms.base import AudioDiffusionModel
from ptq.allocate import Allocator
from ptq.layers import inventory
from ptq.plan import resolve_plan
from ptq.presets import preset
from ptq.sensitivities import Sensitivities


def sensitivities_of(adm: AudioDiffusionModel) -> Sensitivities:
    """The table that ships for a model."""
    found = read_sensitivities(adm.id)
    if found is None or found.model_hash != adm.source_hash:
        raise SystemExit("The shipped sensitivities are of other weights; measure them again.")
    return found


def allocator_of(adm: AudioDiffusionModel) -> Allocator:
    """Chooses bits for what ``ptq4adm`` quantizes of a model's denoiser."""
    layers = inventory(adm.parts(), adm.splits())
    return Allocator(resolve_plan(preset("ptq4adm"), layers), layers, sensitivities_of(adm))
