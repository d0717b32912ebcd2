"""The budgets of every model whose sensitivities ship."""

import logging

from app.adm_shelf import AdmShelf
from app.budget import Budget
from app.study_request import DEFAULT_PRESET
from ptq.config import format_rules
from ptq.errors import CheckpointError, ConfigError
from ptq.presets import preset
from ptq.sensitivities import Sensitivities
from ptq.shipped_sensitivities import shipped_sensitivities

_LOG = logging.getLogger(__name__)


class Budgets:
    """Plans within budgets, by model.

    Args:
        shelf: The models.
    """

    def __init__(self, shelf: AdmShelf) -> None:
        self._shelf = shelf
        # On top of the default preset: its front takes a while to solve.
        self._usual: dict[str, Budget] = {}

    def __call__(self, adm_id: str, rules: str | None = None) -> Budget | None:
        """Plans of a model under budgets; ``None`` where no sensitivities ship for it.

        Args:
            adm_id: The model.
            rules: What the plans are made on top of; the default preset if left out.

        Raises:
            ConfigError: The rules given cannot be followed, or leave nothing to plan.
            PTQError: There is no such model, or its files are damaged.
        """
        found = self._sensitivities(adm_id)
        if found is None:
            return None
        layers = self._shelf.layers(adm_id)
        if rules is not None:
            return Budget(rules, layers, found)
        if found.model_hash not in self._usual:
            usual = format_rules(preset(DEFAULT_PRESET).rules)
            try:
                self._usual[found.model_hash] = Budget(usual, layers, found)
            except ConfigError as error:  # a table that does not fit costs the slider only
                _LOG.warning("%s", error)
                return None
        return self._usual[found.model_hash]

    def _sensitivities(self, adm_id: str) -> Sensitivities | None:
        try:
            return shipped_sensitivities(adm_id, self._shelf.source_hash(adm_id))
        except CheckpointError as error:  # the page does without the slider
            _LOG.warning("%s", error)
            return None
