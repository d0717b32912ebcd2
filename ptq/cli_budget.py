"""The command line's second step to bits under a budget: allocate, or search for the least."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptq.cli_options import check_folder, quant_config, study_config
from ptq.config import format_rules
from ptq.errors import ConfigError
from ptq.layer_spec import DENOISER, LayerInfo
from ptq.plan import resolve_plan
from ptq.report_markdown import megabytes, table
from ptq.sensitivities import Sensitivities

if TYPE_CHECKING:  # torch is loaded by what needs it only
    from ptq.adms.base import AudioDiffusionModel
    from ptq.allocate import Allocation, Allocator
    from ptq.study_events import OnEvent

ROUNDS = 5


@contextmanager
def _quiet_output() -> Iterator[None]:
    """Send what a solver's own code prints to the error stream: stdout is for the answer."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def budget_options(sub: argparse.ArgumentParser) -> None:
    """Add what allocating takes besides the base plan."""
    sub.add_argument("--sensitivities", type=Path, default=Path("sensitivities.json"))
    budget = sub.add_mutually_exclusive_group()
    budget.add_argument("--megabytes", type=float, help="of all layers")
    budget.add_argument("--bits", type=float, help="a weight of the denoiser, on average")
    sub.add_argument("--out", type=Path, help="where to write the rules")


def smallest_options(sub: argparse.ArgumentParser) -> None:
    """Add what the search for the smallest plan takes besides a study's own options."""
    sub.add_argument("--sensitivities", type=Path, default=Path("sensitivities.json"))
    sub.add_argument("--rounds", type=int, default=ROUNDS, help="how often the range is halved")
    sub.add_argument("--to", type=Path, help="where to write the rules")


def read_sensitivities(path: Path) -> Sensitivities:
    """Read a table that ``measured`` wrote.

    Raises:
        ConfigError: If it cannot be read.
    """
    try:
        return Sensitivities.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The sensitivities in {path} cannot be read ({error}); measure them with"
            " 'python -m ptq sensitivity'."
        ) from error


def allocated(
    adm: "AudioDiffusionModel", arguments: argparse.Namespace
) -> tuple[dict[str, Any], str]:
    """The plan of one budget or the whole Pareto front, as JSON values and as text."""
    allocator, layers = _allocator(adm, arguments)
    if arguments.out is not None:
        check_folder(arguments.out)
    with _quiet_output():
        front = _wanted(allocator, arguments)
    rows = [_figures(plan, layers) for plan in front]
    text = _front_text(rows)
    if arguments.out is not None:
        _write_rules(arguments.out, front[-1])
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


def _write_rules(path: Path, found: "Allocation") -> None:
    path.write_text(format_rules(found.config().rules), encoding="utf-8")


def _allocator(
    adm: "AudioDiffusionModel", arguments: argparse.Namespace
) -> tuple["Allocator", tuple[LayerInfo, ...]]:
    from ptq.allocate import Allocator
    from ptq.layers import inventory

    layers = inventory(adm.parts(), adm.splits())
    base = resolve_plan(quant_config(arguments), layers)
    found = read_sensitivities(arguments.sensitivities)
    if found.model_hash != adm.source_hash:
        raise ConfigError(
            f"{arguments.sensitivities} was measured on the model {found.model_hash[:12]}, not on"
            f" {adm.source_hash[:12]}; measure this model."
        )
    return Allocator(base, layers, found), layers


def smallest_found(
    adm: "AudioDiffusionModel", arguments: argparse.Namespace, on_event: "OnEvent"
) -> tuple[dict[str, Any], str]:
    """The smallest plan whose study is non-inferior, as JSON values and as text."""
    from ptq.metrics import Verdict
    from ptq.metrics.embed.ear import find_ear
    from ptq.metrics.paired_banks import MIN_CLIPS_PER_DIM
    from ptq.smallest import smallest_plan
    from ptq.study import run_study

    allocator, layers = _allocator(adm, arguments)
    if arguments.to is not None:
        check_folder(arguments.to)
    config, ear = study_config(arguments, adm), find_ear()
    if isinstance(ear, str):
        raise ConfigError(f"Nothing can be called non-inferior without an ear: {ear}")
    fewest = MIN_CLIPS_PER_DIM * ear.dim
    if len(config.prompts) < fewest:
        raise ConfigError(
            f"{len(config.prompts)} prompts are too few for a verdict; give -n {fewest} or more."
        )

    def passes(found: "Allocation") -> bool:
        probe = replace(config, quant=found.config())
        report = run_study(probe, adm, runs=arguments.out, ear=ear, on_event=on_event)
        return report.fd is not None and report.fd.verdict == Verdict.NON_INFERIOR.value

    with _quiet_output():
        best, probes = smallest_plan(allocator, passes, arguments.rounds)
    rows = [
        {**_figures(probe.allocation, layers), "passed": probe.passed}
        for probe in sorted(probes, key=lambda probe: probe.allocation.size_bytes)
    ]
    if best is None:
        text = "Not even the largest plan is non-inferior; measure with more schemes of more bits."
    else:
        text = f"Smallest non-inferior: {megabytes(best.size_bytes)}."
        if arguments.to is not None:
            _write_rules(arguments.to, best)
            text += f" Rules: {arguments.to}"
    smallest = None if best is None else _figures(best, layers)
    return {"probes": rows, "smallest": smallest}, f"{_front_text(rows)}\n\n{text}"


def _figures(found: "Allocation", layers: Sequence[LayerInfo]) -> dict[str, Any]:
    return {
        "size_bytes": found.size_bytes,
        "denoiser_weight_bits": found.plan.weight_bits_mean(layers, DENOISER),
        "error": found.error,
    }


def _front_text(rows: Sequence[dict[str, Any]]) -> str:
    cells = [
        (
            megabytes(row["size_bytes"]),
            f"{row['denoiser_weight_bits']:.2f}",
            f"{row['error']:.3g}",
        )
        for row in rows
    ]
    return table(("layers", "bits a denoiser weight", "sum of errors"), cells)
