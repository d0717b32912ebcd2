"""The command line's second step to bits under a budget: allocate."""

import argparse
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptq.cli_options import check_target, quant_config
from ptq.cli_output import quiet_output
from ptq.config import format_rules
from ptq.errors import ConfigError
from ptq.layer_spec import DENOISER, LayerInfo
from ptq.plan import resolve_plan
from ptq.report_markdown import megabytes, table
from ptq.sensitivities import Sensitivities

if TYPE_CHECKING:  # torch is loaded by what needs it only
    from ptq.adms.base import AudioDiffusionModel
    from ptq.allocate import Allocation, Allocator


def budget_options(sub: argparse.ArgumentParser) -> None:
    """Add what allocating takes besides the base plan."""
    sensitivity_table(sub)
    budget = sub.add_mutually_exclusive_group()
    budget.add_argument("--megabytes", type=float, help="of all layers")
    budget.add_argument("--bits", type=float, help="a denoiser's weight, on average, scales apart")
    sub.add_argument("--out", type=Path, help="where to write the rules")


def sensitivity_table(sub: argparse.ArgumentParser) -> None:
    """Add what names the sensitivities that bits are allocated by."""
    sub.add_argument(
        "--sensitivities",
        type=Path,
        help="a measured table, whose layers get bits whatever the plan says; if not given, the"
        " model's own",
    )


def _sensitivities(adm: "AudioDiffusionModel", path: Path | None) -> Sensitivities:
    from ptq.shipped_sensitivities import shipped_sensitivities

    cure = "measure them with 'python -m ptq sensitivity'"
    if path is None:
        shipped = shipped_sensitivities(adm.id, adm.source_hash)
        if shipped is None:
            raise ConfigError(f"No sensitivities ship for {adm.id}; {cure}.")
        return shipped
    try:
        found = Sensitivities.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The sensitivities in {path} cannot be read ({error}); {cure}."
        ) from error
    if found.model_hash != adm.source_hash:
        raise ConfigError(
            f"{path} was measured on the model {found.model_hash[:12]}, not on"
            f" {adm.source_hash[:12]}; measure this model."
        )
    return found


def allocated(
    adm: "AudioDiffusionModel", arguments: argparse.Namespace
) -> tuple[dict[str, Any], str]:
    """The plan of one budget or the whole Pareto front, as JSON values and as text."""
    allocator, layers = allocator_of(adm, arguments)
    if arguments.out is not None:
        check_target(arguments.out)
    with quiet_output():
        front = _wanted(allocator, arguments)
    rows = [plan_figures(plan, layers) for plan in front]
    text = front_text(rows)
    if arguments.out is not None:
        write_rules(arguments.out, front[-1])
        text = f"{text}\n\nRules of the last row: {arguments.out}"
    return {"front": rows}, text


def _wanted(allocator: "Allocator", arguments: argparse.Namespace) -> tuple["Allocation", ...]:
    if arguments.megabytes is not None:
        size = _finite(arguments.megabytes, "MB is no size; give a number such as 12.5.")
        return (allocator(round(size * 1e6)),)
    if arguments.bits is not None:
        bits = _finite(arguments.bits, "bits are no budget; give a number such as 4.5.")
        return (allocator.with_mean_bits(bits),)
    return allocator.front()


def _finite(value: float, complaint: str) -> float:
    if not isfinite(value):
        raise ConfigError(f"{value} {complaint}")
    return value


def write_rules(path: Path, found: "Allocation") -> None:
    """Write a plan as rules, one a layer."""
    path.write_text(format_rules(found.config().rules), encoding="utf-8")


def allocator_of(
    adm: "AudioDiffusionModel", arguments: argparse.Namespace
) -> tuple["Allocator", tuple[LayerInfo, ...]]:
    """What allocates bits by the flags' rules and sensitivities, and the model's layers.

    Raises:
        ConfigError: If the sensitivities cannot be read, or are of another model.
    """
    from ptq.adms.base import layers_of
    from ptq.allocate import Allocator

    layers = layers_of(adm)
    base = resolve_plan(quant_config(arguments), layers)
    return Allocator(base, layers, _sensitivities(adm, arguments.sensitivities)), layers


def plan_figures(found: "Allocation", layers: Sequence[LayerInfo]) -> dict[str, Any]:
    """Bytes, mean bits and sum of errors of a plan, as JSON values."""
    return {
        "size_bytes": found.size_bytes,
        "denoiser_weight_bits": found.plan.weight_bits_mean(layers, DENOISER),
        "error": found.error,
    }


def front_text(rows: Sequence[dict[str, Any]]) -> str:
    """A table of ``plan_figures``."""
    cells = [
        (
            megabytes(row["size_bytes"]),
            f"{row['denoiser_weight_bits']:.2f}",
            f"{row['error']:.3g}",
        )
        for row in rows
    ]
    return table(("layers", "bits a denoiser weight", "sum of errors"), cells)
