"""The one loaded ADM: several would not fit into the memory of a small machine."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.loading import load_adm
from ptq.adms.registry import AdmCard, find_adm, list_adms
from ptq.layer_spec import LayerInfo


class AdmShelf:
    """Loads models on demand and keeps the last one. Safe to use from several threads.

    Args:
        folders: Local models by name.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._lock = threading.Lock()
        self._loaded: AudioDiffusionModel | None = None
        # A job may still hold a model that somebody else's choice has replaced here.
        self._alive = WeakValueDictionary[str, AudioDiffusionModel]()
        self._layers: dict[str, tuple[LayerInfo, ...]] = {}
        self._hashes: dict[str, str] = {}

    def cards(self) -> tuple[AdmCard, ...]:
        """Every model there is, embedded ones first."""
        return list_adms(self._folders)

    def card(self, adm_id: str) -> AdmCard:
        """The card of one model.

        Raises:
            ModelError: There is none of that name.
        """
        return find_adm(adm_id, self._folders)

    def load(self, adm_id: str) -> AudioDiffusionModel:
        """The model, in full precision; callers must not change it.

        Raises:
            ModelError: There is none of that name, or its files are damaged.
        """
        card = self.card(adm_id)
        with self._lock:
            if self._loaded is None or self._loaded.id != card.id:
                self._loaded = None  # frees the old one before the new one is read
                held = self._alive.get(card.id)
                self._loaded = self._alive[card.id] = load_adm(card) if held is None else held
            return self._loaded

    def source_hash(self, adm_id: str) -> str:
        """Hash of a model's weights; the model is loaded for it once.

        Raises:
            ModelError: There is none of that name, or its files are damaged.
        """
        if adm_id not in self._hashes:
            self._hashes[adm_id] = self.load(adm_id).source_hash
        return self._hashes[adm_id]

    def layers(self, adm_id: str) -> Sequence[LayerInfo]:
        """What can be quantized in a model.

        Raises:
            ModelError: There is none of that name, or its files are damaged.
        """
        if adm_id not in self._layers:
            adm = self.load(adm_id)
            self._layers[adm_id] = layers_of(adm)
        return self._layers[adm_id]
