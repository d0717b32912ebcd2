"""The command line's two steps to bits under a budget: measure the layers, then allocate."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite, lcm
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptq.cli_options import check_folder, quant_config
from ptq.config import format_rules
from ptq.errors import ConfigError
from ptq.layer_spec import DENOISER, LayerInfo
from ptq.plan import QuantPlan, resolve_plan
from ptq.report_markdown import megabytes, table
from ptq.resolve import MAX_COMMON_BUCKETS
from ptq.rule_text import parse_scheme
from ptq.scheme import ActivationScheme, LayerScheme
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
    from ptq.calibration.purposes import HeldOut, Purpose
    from ptq.calibration.replay import Replay
    from ptq.sensitivity import SensitivityMeter
    from ptq.stages import calibrate_stage, calibration_folder

    schemes = tuple(arguments.schemes or SCHEMES)
    base = resolve_plan(study.config.quant, study.layers())
    observed = _observed(base, schemes)  # refused before anything is measured
    check_folder(arguments.to)
    with study.run.locked():
        stats = calibrate_stage(study, observed)
        folder = calibration_folder(study)
        manifest = folder.manifest()
        held_out = HeldOut(adm=study.adm, sampling=study.settings, apart_from=manifest.prompts)
        meter = SensitivityMeter(
            replay=Replay(adm=study.adm, states=held_out(Purpose.SENSITIVITY)),
            fitting=Replay(adm=study.adm, states=folder.states(Purpose.RECONSTRUCTION)),
            stats=stats,
            base=base,
            calibration=manifest.sha256,
        )
        if arguments.measure == "output":
            found = meter.output(schemes)
        else:
            found = meter.prediction(schemes, on_layer=_tell)
    arguments.to.write_text(found.to_json(), encoding="utf-8")
    return found


def _observed(base: QuantPlan, schemes: Sequence[str]) -> QuantPlan:
    """The base plan with static ranges that serve every scheme as well."""
    asked = [parse_scheme(words.split()).activation for words in schemes]
    known = [spec.scheme.activation for spec in base.layers]
    buckets = lcm(*(scheme.timestep_buckets for scheme in (*asked, *known) if scheme))
    if buckets > MAX_COMMON_BUCKETS:
        raise ConfigError(
            f"the timestep buckets of the schemes and the plan have {buckets} in common; use"
            f" numbers that divide one of at most {MAX_COMMON_BUCKETS}."
        )
    static = ActivationScheme(bits=8, timestep_buckets=buckets)
    measured = {
        spec.name: replace(spec, scheme=LayerScheme(weight=spec.scheme.weight, activation=static))
        for spec in base.layers
        if spec.name.startswith(f"{DENOISER}.") and spec.scheme.weight is not None
    }
    if not measured:
        raise ConfigError(
            f"the plan '{base.name}' quantizes no weight of the denoiser, so there is nothing to"
            " measure; use another."
        )
    layers = tuple(measured.get(spec.name, spec) for spec in base.layers)
    return replace(base, name="observed", layers=layers)


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
    found = read_sensitivities(arguments.sensitivities)
    if found.model_hash != adm.source_hash:
        raise ConfigError(
            f"{arguments.sensitivities} was measured on the model {found.model_hash[:12]}, not on"
            f" {adm.source_hash[:12]}; measure this model."
        )
    if arguments.out is not None:
        check_folder(arguments.out)
    allocator = Allocator(base, layers, found)
    if arguments.megabytes is None:
        front = allocator.front()
    elif not isfinite(arguments.megabytes):
        raise ConfigError(f"{arguments.megabytes} MB is no size; give a number such as 12.5.")
    else:
        front = (allocator(round(arguments.megabytes * 1e6)),)
    rows = [_figures(plan, layers) for plan in front]
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
