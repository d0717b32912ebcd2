"""Plans whose bits follow the sensitivities that ship with a model."""

from dataclasses import replace

from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.allocate import Allocator
from ptq.config import QuantConfig, format_rules, parse_rules
from ptq.plan import resolve_plan
from ptq.presets import preset
from ptq.sensitivities import Sensitivities
from ptq.shipped_sensitivities import shipped_sensitivities


def sensitivities_of(adm: AudioDiffusionModel) -> Sensitivities:
    """The table that ships for a model."""
    found = shipped_sensitivities(adm.id, adm.source_hash)
    if found is None:
        raise SystemExit("The shipped sensitivities are of other weights; measure them again.")
    return found


def allocator_of(adm: AudioDiffusionModel) -> Allocator:
    """Chooses bits for what ``ptq4adm`` quantizes of a model's denoiser."""
    layers = layers_of(adm)
    return Allocator(resolve_plan(preset("ptq4adm"), layers), layers, sensitivities_of(adm))


def rebuilt(config: QuantConfig, name: str) -> QuantConfig:
    """The same plan, its blocks reconstructed (BRECQ) where GPTQ would round them."""
    text = format_rules(config.rules).replace(" gptq", " brecq")
    return replace(config, name=name, rules=parse_rules(text))
