"""The command line's first step to bits under a budget: measure the layers, and check the table."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from math import lcm
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptq.cli_options import check_target
from ptq.cli_output import quiet_output
from ptq.errors import ConfigError
from ptq.layer_spec import DENOISER
from ptq.plan import QuantPlan, resolve_plan
from ptq.rule_text import parse_scheme
from ptq.run_folder import RunFolder
from ptq.scheme import MAX_TIMESTEP_BUCKETS, ActivationScheme, Balance, LayerScheme
from ptq.sensitivities import (
    FIRST_ORDER,
    OUTPUT,
    PREDICTION,
    Sensitivities,
    check_first_order,
)

if TYPE_CHECKING:  # torch is loaded by what needs it only
    from ptq.additivity import Additivity
    from ptq.sensitivity import SensitivityMeter
    from ptq.stages import StudyContext

# Four a prompt, on average: they are spread over the steps.
_STATES = 160
_ABLATED = 4
_CHECKED = 6
# Those that are of the same kind as what the check measures.
_COMPARABLE = (FIRST_ORDER, PREDICTION)
_WEIGHTS = (
    *(f"w{bits} asym group mse gptq" for bits in (2, 3, 4, 6)),
    "w8 mse gptq",
)
SCHEMES = tuple(f"{weight} {ranges}" for weight in _WEIGHTS for ranges in ("a8", "a8 dynamic"))


def sensitivity_options(sub: argparse.ArgumentParser) -> None:
    """Add what measuring takes besides a study's own options."""
    sub.add_argument("--measure", choices=(*_COMPARABLE, OUTPUT), default=FIRST_ORDER)
    sub.add_argument("--scheme", action="append", dest="schemes", help="words of a rule; repeat")
    sub.add_argument("--ablate", action="store_true", help="scale by groups along trajectories")
    sub.add_argument("--check", action="store_true", help="measure whether errors add up")
    sub.add_argument("--to", type=Path, default=Path("sensitivities.json"), help="the table")


def measured(
    study: "StudyContext", arguments: argparse.Namespace
) -> tuple[Sensitivities, "Additivity | None"]:
    """Measure the layers that the plan quantizes, write the table, and check it if asked."""
    from ptq.calibration.purposes import HeldOut, Purpose
    from ptq.calibration.replay import Replay
    from ptq.sensitivity import SensitivityMeter
    from ptq.stages import calibrate_stage, calibration_folder

    schemes = tuple(arguments.schemes or SCHEMES)
    base = resolve_plan(study.config.quant, study.layers())
    # Refused before anything is measured.
    observed = _observed(base, schemes)
    if arguments.measure == FIRST_ORDER:
        check_first_order(schemes)
    check_target(arguments.to)
    # Its ranges are of another plan: a study of the same settings must not take them for its own.
    study = replace(study, run=RunFolder(path=study.run.path / "sensitivity"))
    with study.run.locked():
        stats = calibrate_stage(study, observed)
        folder = calibration_folder(study)
        manifest = folder.manifest()
        held_out = HeldOut(adm=study.adm, sampling=study.settings, apart_from=manifest.prompts)
        meter = SensitivityMeter(
            replay=Replay(adm=study.adm, states=held_out(Purpose.SENSITIVITY, _STATES)),
            fitting=Replay(adm=study.adm, states=folder.states(Purpose.RECONSTRUCTION)),
            stats=stats,
            base=base,
            calibration=manifest.sha256,
        )
        if arguments.measure == FIRST_ORDER:
            found = meter.first_order(schemes)
        elif arguments.measure == PREDICTION:
            found = meter.prediction(schemes, on_layer=_tell)
        else:
            found = meter.output(schemes)
        if arguments.ablate:
            # At a middle one, where errors are neither out of hand nor those of activations alone.
            found = _scaled(study, meter, found, schemes[len(schemes) // 2])
        arguments.to.write_text(found.to_json(), encoding="utf-8")
        return found, _checked(study, meter, found, manifest.prompts) if arguments.check else None


def _scaled(
    study: "StudyContext", meter: "SensitivityMeter", found: Sensitivities, words: str
) -> Sensitivities:
    from ptq.ablation import GroupAblation, rescaled
    from ptq.calibration.rounding import rounded_weights
    from ptq.quantize import Prepared

    plan = meter.plan(words)
    ablation = GroupAblation(
        adm=study.adm,
        settings=study.settings,
        prompts=meter.replay.states.prompts[:_ABLATED],
        prepared=Prepared(
            stats=meter.stats, weights=rounded_weights(meter.fitting, plan, meter.stats)
        ),
    )
    return rescaled(found, dict.fromkeys(found.errors, words), ablation(plan, on_group=_tell))


def _checked(
    study: "StudyContext",
    meter: "SensitivityMeter",
    found: Sensitivities,
    calibrated: Sequence[str],
) -> "Additivity":
    """Check a table on scenes that neither it nor calibration saw."""
    from ptq.additivity import AdditivityCheck
    from ptq.allocate import Allocator
    from ptq.calibration.purposes import HeldOut, Purpose
    from ptq.calibration.replay import Replay

    held_out = HeldOut(adm=study.adm, sampling=study.settings, apart_from=calibrated)
    check = AdditivityCheck(
        replay=Replay(adm=study.adm, states=held_out(Purpose.VALIDATION)),
        fitting=meter.fitting,
        stats=meter.stats,
    )
    with quiet_output():
        front = Allocator(meter.base, study.layers(), found).front(_CHECKED)
    return check(front)


def additivity_figures(found: "Additivity", measure: str) -> dict[str, Any]:
    """A check of a table of one measure as JSON values; a ratio needs errors of one kind."""
    figures = {
        "predicted": found.predicted,
        "measured": found.measured,
        "correlation": found.correlation,
        "rank_correlation": found.rank_correlation,
    }
    return {**figures, "ratio": found.ratio} if measure in _COMPARABLE else figures


def additivity_text(found: "Additivity", measure: str) -> str:
    """A check of a table of one measure in one sentence."""
    if found.correlation is None or found.rank_correlation is None:
        return "Too few different plans to tell whether errors add up."
    text = (
        f"Over {len(found.measured)} plans, the sums of errors and the errors of the whole"
        f" correlate with r = {found.correlation:.2f} (ranks: {found.rank_correlation:.2f})"
    )
    if measure not in _COMPARABLE or found.ratio is None:
        return f"{text}."
    return f"{text}; the whole is {found.ratio:.2f} times the sum."


def _observed(base: QuantPlan, schemes: Sequence[str]) -> QuantPlan:
    """The base plan with static ranges that serve every scheme as well."""
    _check_balance(base, schemes)
    asked = [parse_scheme(words.split()).activation for words in schemes]
    known = [spec.scheme.activation for spec in base.layers]
    buckets = lcm(*(scheme.timestep_buckets for scheme in (*asked, *known) if scheme))
    if buckets > MAX_TIMESTEP_BUCKETS:
        raise ConfigError(
            f"the timestep buckets of the schemes and the plan have {buckets} in common; use"
            f" numbers that divide one of at most {MAX_TIMESTEP_BUCKETS}."
        )
    static = ActivationScheme(bits=8, timestep_buckets=buckets)
    measured = {
        spec.name: replace(spec, scheme=LayerScheme(weight=spec.scheme.weight, activation=static))
        for spec in base.layers
        if spec.part == DENOISER and spec.scheme.weight is not None
    }
    if not measured:
        raise ConfigError(
            f"the plan '{base.name}' quantizes no weight of the denoiser, so there is nothing to"
            " measure; use another."
        )
    layers = tuple(measured.get(spec.name, spec) for spec in base.layers)
    return replace(base, name="observed", layers=layers)


def _check_balance(base: QuantPlan, schemes: Sequence[str]) -> None:
    """Ranges are measured once: on inputs that are evened out as the plan says, or are not."""
    found = [parse_scheme(words.split()) for words in schemes]
    planned = [spec.scheme for spec in base.layers if spec.part == DENOISER]
    found += [scheme for scheme in planned if scheme.weight is not None]
    # A scheme of activations alone leaves inputs as they are.
    kinds = {Balance.NONE if s.weight is None else s.weight.balance for s in found if not s.keeps}
    if len(kinds) > 1:
        raise ConfigError(
            "the plan and all schemes have to even channels out alike; write smooth, or"
            " smooth-time, in all of them or in none."
        )


def _tell(done: int, total: int) -> None:
    end = "\n" if done == total else "\r"
    print(f"layers           {done}/{total}", end=end, file=sys.stderr, flush=True)
