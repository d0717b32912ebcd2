"""How much each layer minds each way of quantizing it: a table that is measured once and reused."""

import functools
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ptq.errors import ConfigError
from ptq.rule_text import parse_scheme
from ptq.scheme import LayerScheme

SENSITIVITY_SCHEMA = 1
OUTPUT, PREDICTION, FIRST_ORDER = "output", "prediction", "first-order"


@dataclass(frozen=True, kw_only=True)
class Sensitivities:
    """Errors by layer and scheme.

    Attributes:
        model_hash: Whose layers they are.
        measure: What an error is: ``"output"`` of the layer itself, ``"prediction"`` of the guided
            denoiser with only that layer quantized, or the same to ``"first-order"``; all of them
            relative, of squares.
        calibration: Hash of the calibration set's manifest.
        errors: For each layer, the error of each scheme, by the words of a rule.
    """

    model_hash: str
    measure: str
    calibration: str
    errors: Mapping[str, Mapping[str, float]]

    def __post_init__(self) -> None:
        if not self.errors or not all(self.errors.values()):
            raise ConfigError(
                "no layer was measured; use a plan that quantizes weights of the denoiser."
            )
        for name, row in self.errors.items():
            for words, error in row.items():
                if not math.isfinite(error) or error < 0:
                    raise ConfigError(
                        f"the error of {name} at '{words}' is {error}; leave that scheme out."
                    )

    def schemes(self, layer: str) -> dict[str, LayerScheme]:
        """The schemes that were measured for a layer, by their words."""
        return {words: _scheme(words) for words in self.errors[layer]}

    @property
    def sha256(self) -> str:
        """Identity of the table."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The table as JSON text."""
        content = {
            "schema": SENSITIVITY_SCHEMA,
            "model_hash": self.model_hash,
            "measure": self.measure,
            "calibration": self.calibration,
            "errors": {name: dict(row) for name, row in self.errors.items()},
        }
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Sensitivities":
        """Read what ``to_json`` wrote.

        Raises:
            ConfigError: If the text is no such table, or of another schema.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            schema = data["schema"]
            content = {key: str(data[key]) for key in ("model_hash", "measure", "calibration")}
            errors = {
                str(name): {str(words): float(error) for words, error in row.items()}
                for name, row in data["errors"].items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"the sensitivities are damaged ({error}); measure them again."
            ) from error
        if schema != SENSITIVITY_SCHEMA:
            raise ConfigError(
                f"the sensitivities have schema {schema!r}, this version reads "
                f"{SENSITIVITY_SCHEMA}; measure them again."
            )
        return cls(errors=errors, **content)


def check_first_order(schemes: Iterable[str]) -> None:
    """Refuse words of rules whose errors gradients overstate.

    Raises:
        ConfigError: For a low-rank branch beside quantized activations: the branch sees its input
            unquantized, which the gradient of the whole layer does not know.
    """
    for words in schemes:
        scheme = _scheme(words)
        if scheme.activation is not None and scheme.weight is not None and scheme.weight.rank:
            raise ConfigError(
                f"'{words}' has a low-rank branch beside quantized activations, whose error"
                f" gradients overstate; use --measure {PREDICTION}."
            )


@functools.lru_cache(maxsize=256)
def _scheme(words: str) -> LayerScheme:
    """A table says the same few words of every layer."""
    return parse_scheme(words.split())
