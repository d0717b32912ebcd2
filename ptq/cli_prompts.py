"""How the command line shows what prompts and calibrations cover, and where prompts are written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ptq.cli_options import check_target
from ptq.errors import ConfigError
from ptq.prompts.files import check_format
from ptq.report_markdown import coverage_text, prompts_text, table

if TYPE_CHECKING:  # torch is loaded by what needs it only
    from ptq.calibration.folder import CalibrationFolder
    from ptq.calibration.prompt_choice import PromptAudit

_MOST_NAMED = 8
_MEANINGS = {
    "near": "reference prompts with one as near as a typical neighbour",
    "radius": "distance of the worst served reference prompt (1 − cosine)",
    "cells": "pairs of a sound family and an aspect, twice or more",
    "sources": "sounds that the model may be asked for",
    "families": "families of those sounds",
}
# What `calibrate` says of coverage where there is nothing to calibrate.
UNCOVERED: Mapping[str, Any] = MappingProxyType(
    {"coverage": {}, "prompt_coverage": {}, "prompt_rounds": []}
)
_LOGGED = ("near", "radius", "cells")


def audited(audit: "PromptAudit", *, given: bool) -> tuple[dict[str, Any], str]:
    """An audit as JSON values and as text.

    Args:
        audit: What was found.
        given: Whether anybody gave prompts; of none there is nothing to tell but the choice.
    """
    value: dict[str, Any] = {
        "prompts": audit.prompts,
        "coverage": audit.chosen,
        "rounds": audit.rounds,
    }
    if not given:
        return value, "\n".join(audit.prompts)
    own = {"given": audit.given, "twins": audit.twins, "lacks": audit.lacks}
    return value | own, audit_text(audit)


def audit_text(audit: "PromptAudit") -> str:
    """Coverage of the prompts given and of the chosen ones, and what the given ones lack."""
    rows = [
        (meaning, f"{audit.given[name]:.3f}", f"{audit.chosen[name]:.3f}")
        for name, meaning in _MEANINGS.items()
    ]
    lines = [
        table(("", "given", f"chosen {len(audit.prompts)}"), rows),
        "",
        rounds_text(audit.rounds),
        "",
    ]
    if audit.twins:
        lines.append(f"Left out, for others say nearly the same: {shortened(audit.twins)}.")
    lines += [f"Lacking {what}: {shortened(names)}." for what, names in audit.lacks.items()]
    return "\n".join(lines)


def rounds_text(rounds: Sequence[Mapping[str, float]]) -> str:
    """How a set of prompts grew, round by round: see ``ptq.prompts.space``."""
    rows = [
        (str(number), *(f"{found[name]:.3f}" for name in _LOGGED))
        for number, found in enumerate(rounds)
    ]
    return table(("round", *_LOGGED), rows)


def calibrated(folder: "CalibrationFolder", layers: int) -> tuple[dict[str, Any], str]:
    """What a calibration rests on, as JSON values and as text.

    Args:
        folder: Where it was written.
        layers: How many it measured.
    """
    path, manifest = str(folder.stats_path), folder.manifest()
    value: dict[str, Any] = {
        "layers": layers,
        "path": path,
        "coverage": dict(manifest.coverage),
        "prompt_coverage": dict(manifest.prompt_coverage),
        "prompt_rounds": list(manifest.prompt_rounds),
    }
    covered, reach = prompts_text(manifest.prompt_coverage), coverage_text(manifest.coverage)
    lines = [
        path,
        f"Its {len(manifest.prompts)} prompts {covered}." if covered else "",
        f"Its states {reach}." if reach else "",
        rounds_text(manifest.prompt_rounds) if manifest.prompt_rounds else "",
    ]
    return value, "\n".join(line for line in lines if line)


def shortened(names: tuple[str, ...]) -> str:
    """The first few of many names, and how many more there are."""
    shown = "; ".join(names[:_MOST_NAMED]) or "none"
    return shown if len(names) <= _MOST_NAMED else f"{shown}; and {len(names) - _MOST_NAMED} more"


def augmented_path(given: Path | None, wanted: Path | None) -> Path | None:
    """Where to write: as wanted, else beside the file given; nowhere without either.

    Raises:
        ConfigError: If the folder is missing, or a file would be overwritten unasked.
    """
    if wanted is not None:
        check_target(wanted)
        check_format(wanted)
    if wanted is not None or given is None:
        return wanted
    path = given.with_name(f"{given.stem}-augmented.txt")
    if path.exists():
        raise ConfigError(f"{path} is there already; name another file with --out, or this one.")
    return path
