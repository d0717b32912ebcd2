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


def allocator_of(adm: AudioDiffusionModel, *, dynamic: bool = True) -> Allocator:
    """Chooses bits for what ``ptq4adm`` quantizes of a model's denoiser.

    Args:
        adm: The model.
        dynamic: Whether activations may have dynamic ranges where they are worth it.
    """
    layers, known = layers_of(adm), sensitivities_of(adm)
    if not dynamic:
        known = replace(known, errors={n: _static(known, n) for n in known.errors})
    return Allocator(resolve_plan(preset("ptq4adm"), layers), layers, known)


def _static(known: Sensitivities, layer: str) -> dict[str, float]:
    schemes = known.schemes(layer)
    asked = {words: scheme.activation for words, scheme in schemes.items()}
    return {
        words: error
        for words, error in known.errors[layer].items()
        if (activation := asked[words]) is None or activation.is_static
    }


def rebuilt(config: QuantConfig, name: str) -> QuantConfig:
    """The same plan, its blocks reconstructed (BRECQ) where GPTQ would round them."""
    text = format_rules(config.rules).replace(" gptq", " brecq")
    return replace(config, name=name, rules=parse_rules(text))
