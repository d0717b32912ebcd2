"""What happens to each layer: rules meet the layers of a model, and sizes follow by arithmetic."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptq.config import QuantConfig, load_object
from ptq.errors import CheckpointError, ConfigError
from ptq.json_values import integer
from ptq.layer_spec import LayerInfo, LayerKind, LayerSpec
from ptq.resolve import resolve_layers
from ptq.spelling import check_keys

__all__ = [
    "PLAN_SCHEMA",
    "LayerInfo",
    "LayerKind",
    "LayerSpec",
    "QuantPlan",
    "fp_size_bytes",
    "read_plan",
    "resolve_plan",
]

PLAN_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class QuantPlan:
    """The scheme of every layer of a model, in the order of its inventory.

    Attributes:
        name: what reports call the plan.
        layers: one spec a layer.
        seed: of what a quantization method draws: the order of states in BRECQ's training.
    """

    name: str
    layers: tuple[LayerSpec, ...]
    seed: int = 0

    @property
    def quantized(self) -> tuple[LayerSpec, ...]:
        """The layers that the plan changes."""
        return tuple(spec for spec in self.layers if not spec.scheme.keeps)

    @property
    def sha256(self) -> str:
        """Hash of what the plan does: layers and seed, not its name."""
        return hashlib.sha256(_canonical(self._content()).encode()).hexdigest()

    def weight_bits_mean(self, inventory: Sequence[LayerInfo], part: str | None = None) -> float:
        """Return nominal bits per weight, kept weights counting 16; scales are not counted.

        Raises:
            ConfigError: when the inventory lacks a layer of the plan, or has no weights.
        """
        pairs = self._pair(inventory, part)
        weights = sum(info.parameters for _, info in pairs)
        if weights == 0:
            raise ConfigError(f"there are no weights in '{part or 'the model'}'; check the part.")
        return sum(spec.scheme.weight_bits * info.parameters for spec, info in pairs) / weights

    def size_bytes(self, inventory: Sequence[LayerInfo], part: str | None = None) -> int:
        """Return the bytes of all layers: packed weights, scales, zero points, the rest in floats.

        Raises:
            ConfigError: when the inventory lacks a layer of the plan.
        """
        pairs = self._pair(inventory, part)
        return sum(spec.bytes_stored(info) for spec, info in pairs)

    def rows(self, inventory: Sequence[LayerInfo]) -> list[dict[str, Any]]:
        """Return name, kind, ``w_bits``, ``a_bits`` (16 in floating point) and bytes by layer.

        Raises:
            ConfigError: when the inventory lacks a layer of the plan.
        """
        return [
            {
                "name": spec.name,
                "kind": info.kind.value,
                "w_bits": spec.scheme.weight_bits,
                "a_bits": spec.scheme.activation_bits,
                "bytes": spec.bytes_stored(info),
            }
            for spec, info in self._pair(inventory, None)
        ]

    def to_json(self) -> str:
        """Return the plan as JSON text."""
        return json.dumps({"schema": PLAN_SCHEMA, "name": self.name, **self._content()}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "QuantPlan":
        """Read what ``to_json`` wrote.

        Raises:
            UnknownKeyError: for a key that no schema version knows.
            ConfigError: for text that is not a plan of this schema.
        """
        data = load_object(text, what="plan", schema=PLAN_SCHEMA)
        check_keys(data, ("schema", "name", "layers", "seed"), owner="a plan")
        layers = data.get("layers", [])
        if not isinstance(layers, list):
            raise ConfigError(f"'layers' is {layers!r}; give a list of layers.")
        try:
            return cls(
                name=str(data.get("name", "custom")),
                layers=tuple(LayerSpec.from_json(layer) for layer in layers),
                seed=integer(data, "seed", default=0),
            )
        except ConfigError:
            raise
        except (AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"the plan is damaged ({error}); resolve it again.") from error

    def _content(self) -> dict[str, Any]:
        return {"seed": self.seed, "layers": [spec.to_json() for spec in self.layers]}

    def _pair(
        self, inventory: Sequence[LayerInfo], part: str | None
    ) -> list[tuple[LayerSpec, LayerInfo]]:
        infos = {info.name: info for info in inventory}
        missing = next((spec.name for spec in self.layers if spec.name not in infos), None)
        if missing is not None:
            raise ConfigError(
                f"plan '{self.name}' names the layer '{missing}', which this model does not have;"
                " resolve the rules again for this model."
            )
        pairs = [(spec, infos[spec.name]) for spec in self.layers]
        return [(spec, info) for spec, info in pairs if part is None or info.part == part]


def resolve_plan(config: QuantConfig, inventory: Sequence[LayerInfo]) -> QuantPlan:
    """Return what happens to each layer of ``inventory``; the first rule that matches wins.

    Raises:
        UnusedRuleError: for a rule that is not optional and decides no layer.
        ConfigError: for a group size that does not divide a row.
    """
    layers = resolve_layers(config, inventory)
    return QuantPlan(name=config.name, layers=layers, seed=config.seed)


def read_plan(path: Path) -> QuantPlan:
    """Read the plan that a file holds.

    Raises:
        CheckpointError: when it is missing or damaged.
    """
    try:
        return QuantPlan.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the plan {path.name} cannot be read ({error}); delete its run."
        ) from error


def fp_size_bytes(inventory: Iterable[LayerInfo]) -> int:
    """Return the bytes of all layers in float32."""
    return sum(4 * (info.parameters + info.bias_parameters) for info in inventory)


def _canonical(data: Mapping[str, Any]) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))
