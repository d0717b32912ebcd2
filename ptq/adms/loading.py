"""Loads an ADM of any family; apart from the registry, so that listing models needs no torch."""

from ptq.adms.audioldm import FAMILY, AudioLDM
from ptq.adms.base import AudioDiffusionModel
from ptq.adms.registry import AdmCard
from ptq.errors import ModelError

_FAMILIES = {FAMILY: AudioLDM}


def load_adm(card: AdmCard) -> AudioDiffusionModel:
    """Load a model's components in float32.

    Raises:
        ModelError: If the family is unknown or the folder is damaged.
    """
    if card.family not in _FAMILIES:
        raise ModelError(
            f"The family {card.family!r} of {card.id} has no adapter; "
            f"this version loads {', '.join(_FAMILIES)}."
        )
    return _FAMILIES[card.family](card.id, card.folder)
