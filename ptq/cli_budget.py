"""The command line's two steps to bits under a budget: measure the layers, then allocate."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptq.cli_options import quant_config
from ptq.config import QuantConfig, format_rules, parse_rules
from ptq.errors import ConfigError
from ptq.layer_spec import DENOISER, LayerInfo
from ptq.plan import resolve_plan
from ptq.report_markdown import megabytes, table
from ptq.rule_text import parse_scheme
from ptq.sensitivities import Sensitivities

if TYPE_CHECKING:  # torch is loaded by what needs it only
    from ptq.adms.base import AudioDiffusionModel
    from ptq.allocate import Allocation
    from ptq.stages import StudyContext

SCHEMES = (
    "w3 asym group mse gptq a8 mse t10",
    "w4 asym group mse gptq a8 mse t10",
    "w6 mse a8 mse t10",
    "w8 mse a8 mse t10",
)
# Statistics for whatever static ranges a scheme may ask for, up to ten timestep buckets.
_OBSERVED = QuantConfig(name="observed", rules=parse_rules("denoiser.* = w8 a8 t10 optional"))


def sensitivity_options(sub: argparse.ArgumentParser) -> None:
    """Add what measuring takes besides a study's own options."""
    sub.add_argument("--measure", choices=("output", "prediction"), default="output")
    sub.add_argument("--scheme", action="append", dest="schemes", help="words of a rule; repeat")
    sub.add_argument("--to", type=Path, default=Path("sensitivities.json"), help="the table")


def budget_options(sub: argparse.ArgumentParser) -> None:
    """Add what allocating takes besides the base plan."""
    sub.add_argument("--sensitivities", type=Path, default=Path("sensitivities.json"))
    sub.add_argument("--megabytes", type=float, help="of all layers; the whole front, if not given")
    sub.add_argument("--out", type=Path, help="where to write the rules")


def measured(study: "StudyContext", arguments: argparse.Namespace) -> Sensitivities:
    """Measure the layers that the plan quantizes, and write the table."""
    from ptq.sensitivity import SensitivityMeter
    from ptq.stages import calibrate_stage, calibration_manifest, calibration_replay

    schemes = tuple(arguments.schemes or SCHEMES)
    for words in schemes:
        parse_scheme(words.split())  # refused before anything is measured
    base = resolve_plan(study.config.quant, study.layers())
    with study.run.locked():
        stats = calibrate_stage(study, resolve_plan(_OBSERVED, study.layers()))
        meter = SensitivityMeter(
            replay=calibration_replay(study),
            stats=stats,
            base=base,
            calibration=calibration_manifest(study).sha256,
        )
        if arguments.measure == "output":
            found = meter.output(schemes)
        else:
            found = meter.prediction(schemes, on_layer=_tell)
    arguments.to.write_text(found.to_json(), encoding="utf-8")
    return found


def _tell(done: int, total: int) -> None:
    end = "\n" if done == total else "\r"
    print(f"layers           {done}/{total}", end=end, file=sys.stderr, flush=True)


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
    from ptq.allocate import Allocator
    from ptq.layers import inventory

    layers = inventory(adm.parts(), adm.splits())
    base = resolve_plan(quant_config(arguments), layers)
    allocator = Allocator(base, layers, read_sensitivities(arguments.sensitivities))
    if arguments.megabytes is None:
        front = allocator.front()
    else:
        front = (allocator(round(arguments.megabytes * 1e6)),)
    rows = [_figures(found, layers) for found in front]
    text = _front_text(rows)
    if arguments.out is not None:
        rules = format_rules(front[-1].config().rules)
        arguments.out.write_text(rules, encoding="utf-8")
        text = f"{text}\n\nRules of the last row: {arguments.out}"
    return {"front": rows}, text


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
