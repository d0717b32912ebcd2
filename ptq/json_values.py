"""Checked values out of JSON that people write by hand."""

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any, TypeVar

from ptq.errors import ConfigError
from ptq.spelling import nearest

E = TypeVar("E", bound=StrEnum)


def field_names(cls: type[Any]) -> tuple[str, ...]:
    """The keys that a data class is written with."""
    return tuple(field.name for field in fields(cls))


def integer(data: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A whole number.

    Raises:
        ConfigError: for anything else.
    """
    value = data.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"'{key}' is {value!r}; give a whole number.")
    return value


def boolean(data: Mapping[str, Any], key: str, *, default: bool) -> bool:
    """True or false.

    Raises:
        ConfigError: for anything else.
    """
    value = data.get(key, default)
    if not isinstance(value, bool):
        raise ConfigError(f"'{key}' is {value!r}; give true or false.")
    return value


def member(enum: type[E], value: object) -> E:
    """A member of an enumeration by its value.

    Raises:
        ConfigError: naming the nearest.
    """
    values = [member.value for member in enum]
    if value not in values:
        raise ConfigError(
            f"{enum.__name__} has no {value!r}; the nearest is '{nearest(str(value), values)}'."
        )
    return enum(str(value))
