"""A study's report: one value, written as JSON and read back. Pure functions.

``report.json`` is a public format: keys are only added within a schema version, readers ignore
unknown ones, and what could not be computed is absent with its reason in ``notes``.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptq.errors import CheckpointError
from ptq.results import (
    AdmRecord,
    CalibrationRecord,
    FdRecord,
    LayerRecord,
    PairedRecord,
    PairRecord,
    PlanRecord,
    Score,
    SizeRecord,
)

REPORT_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything a study found."""

    adm: AdmRecord
    plan: PlanRecord
    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    size: SizeRecord
    layers: tuple[LayerRecord, ...]
    paired: PairedRecord
    pairs: tuple[PairRecord, ...]
    timings_s: Mapping[str, float]
    calibration: CalibrationRecord | None = None
    fd: FdRecord | None = None
    scores: tuple[Score, ...] = ()
    notes: tuple[str, ...] = ()
    schema: int = REPORT_SCHEMA

    def to_json(self) -> str:
        """The report as JSON text with absent values left out."""
        return json.dumps(_without_none(dataclasses.asdict(self)), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """Read what ``to_json`` wrote; unknown keys are ignored.

        Raises:
            CheckpointError: If the text is not a report of this schema.
        """
        try:
            data = json.loads(text)
            schema = data["schema"]
            report: Report | None = _read(cls, data) if schema == REPORT_SCHEMA else None
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"The report is damaged ({error}); run the study again."
            ) from error
        if report is None:
            raise CheckpointError(
                f"The report has schema {schema}, this version reads {REPORT_SCHEMA}; "
                "update or run the study again."
            )
        return report


def read_report(path: Path) -> Report:
    """Read a ``report.json``.

    Raises:
        CheckpointError: It cannot be read, or is not a report of this schema.
    """
    try:
        return Report.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"The report {path} cannot be read ({type(error).__name__}); run the study again."
        ) from error


def _without_none(value: Any) -> Any:  # noqa: ANN401 - JSON values
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value


def _read(kind: Any, value: Any) -> Any:  # noqa: ANN401 - any annotated type and its JSON value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        fields = (field.name for field in dataclasses.fields(kind) if field.name in value)
        return kind(**{name: _read(hints[name], value[name]) for name in fields})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        kinds = arguments if arguments[-1] is not Ellipsis else arguments[:1] * len(value)
        return tuple(_read(inner, item) for inner, item in zip(kinds, value, strict=True))
    if origin is types.UnionType:
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else _read(inner, value)
    return value
