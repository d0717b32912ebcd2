"""What the command line's flags say: rules, sampling and studies."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ptq.config import QuantConfig, parse_rules
from ptq.errors import ConfigError
from ptq.presets import PRESETS, preset
from ptq.prompts.files import read_prompts
from ptq.prompts.kinds import KINDS, USUAL, Draw
from ptq.spelling import nearest
from ptq.study_config import STRATEGY_NAMES, CalibrationSettings, StudyConfig

if TYPE_CHECKING:  # torch is loaded by what needs it only
    from ptq.adms.base import AudioDiffusionModel

_PROMPTS = 8


def plan_options(sub: argparse.ArgumentParser) -> None:
    """Add what names the rules."""
    source = sub.add_mutually_exclusive_group()
    source.add_argument("--preset", default="ptq4adm", help=", ".join(PRESETS))
    source.add_argument("--plan", type=Path, help="a file of ordered rules, or JSON")


def sampling_options(sub: argparse.ArgumentParser) -> None:
    """Add what says how clips are sampled."""
    sub.add_argument("--steps", type=int, default=20)
    sub.add_argument("--guidance", type=float, help="as the model declares it, if not given")
    sub.add_argument("--seconds", type=float, default=5.12)
    sub.add_argument("--seed", type=int, default=0)


def study_options(sub: argparse.ArgumentParser) -> None:
    """Add everything that a study takes."""
    plan_options(sub)
    sampling_options(sub)
    asked = sub.add_mutually_exclusive_group()
    asked.add_argument("-n", "--prompts", type=int, help=f"how many are drawn: {_PROMPTS}")
    asked.add_argument("--from", dest="prompt_file", type=Path, help="txt, csv or jsonl of prompts")
    sub.add_argument(
        "--suite", metavar="NAME", help=f"what they are drawn from: {', '.join(KINDS)}"
    )
    _calibration_options(sub)
    sub.add_argument("--correct-sampler", action="store_true", help="undo predictable noise (PTQD)")
    sub.add_argument("--out", type=Path, default=Path("runs"), help="folder of all runs")


def _calibration_options(sub: argparse.ArgumentParser) -> None:
    """Add what says how a study is calibrated, each ``None`` where it is not given."""
    usual = CalibrationSettings()
    sub.add_argument(
        "--calibration", dest="strategy", choices=STRATEGY_NAMES, help=f"{usual.strategy}"
    )
    count = sub.add_mutually_exclusive_group()
    count.add_argument("--calibration-prompts", type=int, help=f"how many: {usual.prompts}")
    count.add_argument(
        "--calibration-file", type=Path, help="txt, csv or jsonl of the prompts to calibrate on"
    )
    sub.add_argument(
        "--covering",
        action=argparse.BooleanOptionalAction,
        help="calibration prompts that cover most, or drawn ones",
    )
    sub.add_argument("--calibration-states", type=int, help=f"{usual.states}")
    sub.add_argument("--calibration-seed", type=int, help=f"{usual.seed}")
    sub.add_argument("--calibration-from", type=Path, help="run whose calibration serves again")


def check_target(path: Path) -> None:
    """Refuse a file that cannot be written where it is wanted, before hours of work are lost.

    Raises:
        ConfigError: Naming the folder that is not there, or that stands in its place.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder {path.parent} for {path.name}; make it first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{path} may not be written; name a file in another folder.")


def quant_config(arguments: argparse.Namespace) -> QuantConfig:
    """The rules that the flags name.

    Raises:
        ConfigError: If the preset or the file cannot be followed.
    """
    if arguments.plan is None:
        return preset(arguments.preset)
    try:
        text = arguments.plan.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The plan {arguments.plan} cannot be read ({error}); name a file of rules, or a preset"
            " by --preset."
        ) from error
    if text.lstrip().startswith("{"):
        return QuantConfig.from_json(text)
    return QuantConfig(name=arguments.plan.stem, rules=parse_rules(text))


def guidance_of(arguments: argparse.Namespace, adm: "AudioDiffusionModel") -> float:
    """The scale that the flag names, or the model's own."""
    if arguments.guidance is None:
        return float(adm.spec.default_guidance)
    return float(arguments.guidance)


def study_config(
    arguments: argparse.Namespace, adm: "AudioDiffusionModel", suite: str | None = None
) -> StudyConfig:
    """The study of a loaded model that the flags describe.

    Args:
        arguments: What was asked for.
        adm: The model.
        suite: Prompts are drawn of it where none are given; the one asked for if left out.

    Raises:
        ConfigError: If the flags contradict one another, or name what is not there.
    """
    from ptq.adms.registry import lexicon_of

    if arguments.prompt_file is not None and arguments.suite is not None:
        raise ConfigError("Prompts come of a file or of a suite; leave --from or --suite out.")
    if arguments.prompt_file is not None:
        prompts = read_prompts(arguments.prompt_file)
    else:
        count = _PROMPTS if arguments.prompts is None else arguments.prompts
        lexicon = lexicon_of(arguments.adm)
        drawn = _drawn_from(arguments, suite)(count, arguments.seed, lexicon)
        prompts = tuple(prompt.text for prompt in drawn)
    return StudyConfig(
        adm=arguments.adm,
        quant=quant_config(arguments),
        prompts=prompts,
        seed=arguments.seed,
        steps=arguments.steps,
        guidance=guidance_of(arguments, adm),
        seconds=arguments.seconds,
        calibration=_calibration(arguments),
        corrected=arguments.correct_sampler,
    )


def _drawn_from(arguments: argparse.Namespace, suite: str | None) -> Draw:
    if suite is not None and arguments.suite is not None:
        raise ConfigError("This command chooses its own suites; leave --suite out.")
    name = suite or arguments.suite or USUAL
    if name not in KINDS:
        raise ConfigError(f"There is no suite {name!r}; the nearest is {nearest(name, KINDS)!r}.")
    return KINDS[name]


def _calibration(arguments: argparse.Namespace) -> CalibrationSettings:
    from ptq.calibration.folder import CalibrationFolder

    texts: tuple[str, ...] | None = None
    if arguments.calibration_file is not None:
        texts = tuple(dict.fromkeys(read_prompts(arguments.calibration_file)))
        if arguments.covering:
            raise ConfigError(
                "The prompts of a file are taken as they are; leave --covering out, or write a"
                " covering set with `python -m ptq prompts`."
            )
    flags = {
        "strategy": arguments.strategy,
        "prompts": len(texts) if texts else arguments.calibration_prompts,
        "texts": texts,
        "covering": False if texts else arguments.covering,
        "states": arguments.calibration_states,
        "seed": arguments.calibration_seed,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    if arguments.calibration_from is None:
        return replace(CalibrationSettings(), **given)
    if given:
        raise ConfigError(
            f"A calibration that is taken over has its own {', '.join(given)}; leave"
            " --calibration-from out to calibrate anew, or the other calibration flags."
        )
    inside = arguments.calibration_from / "calibration"
    path = inside if inside.is_dir() else arguments.calibration_from
    return CalibrationFolder(path=path).settings()
