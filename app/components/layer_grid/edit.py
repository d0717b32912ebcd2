"""One edit of the layer grid, as it arrives from a browser and therefore checked."""

from dataclasses import dataclass
from typing import Self

from ptq.errors import ConfigError

_MAX_NAMES = 4096
_MAX_CHARACTERS = 256
_BITS = range(1, 33)
_WAY_OUT = "reload the page and set the layers again."


@dataclass(frozen=True, kw_only=True)
class LayerEdit:
    """Which layers get which bit-widths. It becomes one ordered rule.

    Attributes:
        pattern: A glob over layer names, or ``None`` where ``names`` says it.
        names: The layers one by one; empty where ``pattern`` says it.
        weight_bits: New width of the weights; ``None`` leaves it; 32 keeps them in float.
        activation_bits: New width of the activations, likewise.
    """

    pattern: str | None
    names: tuple[str, ...]
    weight_bits: int | None
    activation_bits: int | None

    @classmethod
    def from_event(cls, event: object) -> Self:
        """Read the data of an ``edited`` event (``gr.EventData``).

        Raises:
            ConfigError: What arrived is no edit that the grid can make.
        """
        pattern = getattr(event, "pattern", None)
        if pattern is not None and not _is_text(pattern):
            raise ConfigError(f"The edit has no readable layer pattern; {_WAY_OUT}")
        names = _names(getattr(event, "names", None))
        if (pattern is None) == (not names):
            raise ConfigError(
                f"The edit must name layers or give one pattern, not both; {_WAY_OUT}"
            )
        weight_bits = _bits(getattr(event, "weight_bits", None))
        activation_bits = _bits(getattr(event, "activation_bits", None))
        if weight_bits is None and activation_bits is None:
            raise ConfigError("The edit changes nothing; choose a bit-width to set.")
        return cls(
            pattern=pattern,
            names=names,
            weight_bits=weight_bits,
            activation_bits=activation_bits,
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_CHARACTERS


def _names(value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list) else []
    if len(names) > _MAX_NAMES or not all(_is_text(name) for name in names):
        raise ConfigError(f"The edit has layer names that cannot be read; {_WAY_OUT}")
    return tuple(names)


def _bits(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value not in _BITS:
        raise ConfigError(f"{value!r} is not a bit-width; choose a whole number from 1 to 32.")
    return value
