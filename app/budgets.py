"""The budgets of every model whose sensitivities ship."""

import functools
import logging

from app.adm_shelf import AdmShelf
from app.budget import Budget, own_rules
from app.rules import excess
from app.study_request import DEFAULT_PRESET
from ptq.config import format_rules
from ptq.errors import CheckpointError, ConfigError
from ptq.presets import preset
from ptq.sensitivities import Sensitivities
from ptq.shipped_sensitivities import shipped_sensitivities

_LOG = logging.getLogger(__name__)
_KEPT = 8


class Budgets:
    """Plans within budgets, by model.

    Args:
        shelf: The models.
    """

    def __init__(self, shelf: AdmShelf) -> None:
        self._shelf = shelf
        # A slider moves over the same rules again and again, and a front takes a while to solve.
        self._made = functools.lru_cache(maxsize=_KEPT)(self._make)

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
        if rules is not None:
            if (long := excess(rules)) is not None:
                raise ConfigError(str(long))
            return self._made(adm_id, found.sha256, own_rules(rules))
        try:
            return self._made(adm_id, found.sha256, format_rules(preset(DEFAULT_PRESET).rules))
        except ConfigError as error:  # a table that does not fit costs the slider only
            _LOG.warning("%s", error)
            return None

    def _make(self, adm_id: str, _table: str, rules: str) -> Budget | None:
        # The hash of the table is there to remember the budget by: another table, another budget.
        found = self._sensitivities(adm_id)
        return None if found is None else Budget(rules, self._shelf.layers(adm_id), found)

    def _sensitivities(self, adm_id: str) -> Sensitivities | None:
        try:
            return shipped_sensitivities(adm_id, self._shelf.source_hash(adm_id))
        except CheckpointError as error:  # the page does without the slider
            _LOG.warning("%s", error)
            return None
