"""The command line: one subcommand a stage. Progress goes to stderr, results to stdout."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptq.cli_budget import allocated, budget_options
from ptq.cli_layers import listed
from ptq.cli_options import (
    guidance_of,
    plan_options,
    quant_config,
    sampling_options,
    study_config,
    study_options,
)
from ptq.cli_prompts import UNCOVERED, audited, augmented_path, calibrated, rounds_text
from ptq.cli_runs import compared, read_run
from ptq.cli_sensitivity import (
    additivity_figures,
    additivity_text,
    measured,
    sensitivity_options,
)
from ptq.cli_smallest import smallest_found, smallest_options
from ptq.errors import Cancelled, ConfigError, MetricError, PTQError
from ptq.report_markdown import megabytes, summary_rows, table
from ptq.run_folder import check_link
from ptq.study_config import check_sampling
from ptq.study_events import StudyEvent

if TYPE_CHECKING:  # torch is loaded by what needs it only
    from ptq.stages import StudyContext

EXIT_BAD_INPUT = 2
EXIT_STOPPED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit status."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], None] = arguments.command
    try:
        command(arguments)
    except (Cancelled, KeyboardInterrupt):
        print("Stopped; the same command goes on from what a study has kept.", file=sys.stderr)
        return EXIT_STOPPED
    except PTQError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ptq", description="Quantize text-to-audio diffusion models, and hear it."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], None], *words: str) -> Any:  # noqa: ANN401 - argparse's own type is private
        sub = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        sub.set_defaults(command=command)
        for word in words:
            sub.add_argument(word)
        sub.add_argument("--json", action="store_true", help="print exactly one JSON object")
        return sub

    add("adms", _adms)
    plan_options(add("layers", _layers, "adm"))
    prompts = add("prompts", _prompts, "adm")
    prompts.add_argument(
        "-n", "--prompts", type=int, help="if not given, as many as the file has, and at least 8"
    )
    prompts.add_argument("--seed", type=int, default=0)
    prompts.add_argument("--from", dest="prompt_file", type=Path, help="txt, csv or jsonl to audit")
    prompts.add_argument(
        "--out", type=Path, help="where to write them: .txt, or .jsonl with what each is"
    )
    study_options(add("calibrate", _calibrate, "adm"))
    study_options(add("quantize", _quantize, "adm"))
    study = add("study", _study, "adm")
    study_options(study)
    study.add_argument("--link", type=Path, help="also make this path point to the run")
    measure = add("sensitivity", _sensitivity, "adm")
    study_options(measure)
    sensitivity_options(measure)
    allocate = add("allocate", _allocate, "adm")
    plan_options(allocate)
    budget_options(allocate)
    smallest = add("smallest", _smallest, "adm")
    study_options(smallest)
    smallest_options(smallest)
    generate = add("generate", _generate, "adm", "prompt")
    sampling_options(generate)
    generate.add_argument("--cached", action="store_true", help="keep what would be computed again")
    generate.add_argument("--out", type=Path, default=Path("clip.flac"))
    add("report", _report, "run")
    add("compare", _compare, "run", "other")
    return parser


def _show(arguments: argparse.Namespace, value: dict[str, Any], text: str) -> None:
    print(json.dumps(value, indent=2) if arguments.json else text)


def _progress(event: StudyEvent) -> None:
    end = "\n" if event.done == event.total else "\r"
    print(f"{event.stage:<16} {event.done}/{event.total}", end=end, file=sys.stderr, flush=True)


def _adms(arguments: argparse.Namespace) -> None:
    """List the models that can be loaded."""
    from ptq.adms.registry import list_adms

    cards: list[dict[str, Any]] = [
        {key: value for key, value in asdict(card).items() if key != "folder"}
        for card in list_adms()
    ]
    rows = [(c["id"], c["family"], megabytes(c["size_bytes"]), c["state"]) for c in cards]
    _show(arguments, {"adms": cards}, table(("id", "family", "size", "state"), rows))


def _load(adm_id: str) -> Any:  # noqa: ANN401 - the protocol lives behind torch
    from ptq.adms.loading import load_adm
    from ptq.adms.registry import find_adm

    return load_adm(find_adm(adm_id))


def _layers(arguments: argparse.Namespace) -> None:
    """List a model's layers and what a plan does to each."""
    from ptq.adms.base import layers_of
    from ptq.plan import resolve_plan

    adm = _load(arguments.adm)
    layers = layers_of(adm)
    _show(arguments, *listed(resolve_plan(quant_config(arguments), layers), layers))


def _prompts(arguments: argparse.Namespace) -> None:
    """Choose prompts that cover a model's input space; audit and augment a file of them."""
    from ptq.adms.registry import lexicon_of
    from ptq.calibration.prompt_choice import PromptChoice
    from ptq.prompts.files import read_prompts, write_prompts

    given = read_prompts(arguments.prompt_file) if arguments.prompt_file else ()
    path = augmented_path(arguments.prompt_file, arguments.out)
    count = max(8, len(given)) if arguments.prompts is None else arguments.prompts
    choice = PromptChoice(_load(arguments.adm), arguments.seed, lexicon_of(arguments.adm))
    found = choice.audit(given, count)
    value, text = audited(found, given=bool(given))
    if not given:
        print(rounds_text(found.rounds), file=sys.stderr)
    if path is not None:
        write_prompts(path, found.prompts, given)
        value, text = {**value, "path": str(path)}, f"{text}\n\nWritten to {path}"
    _show(arguments, value, text)


def _staged(arguments: argparse.Namespace) -> "StudyContext":
    from ptq.adms.sampling import never_stop
    from ptq.stages import StudyContext
    from ptq.study import run_folder_of

    adm = _load(arguments.adm)
    config = study_config(arguments, adm)
    return StudyContext(
        config=config,
        adm=adm,
        run=run_folder_of(config, adm, arguments.out),
        on_event=_progress,
        should_stop=never_stop,
    )


def _warn(study: "StudyContext") -> None:
    """Say in what a calibration that was taken over differs from how is sampled here."""
    from ptq.stages import calibration_folder

    for line in calibration_folder(study).mismatches(type(study.adm).__name__, study.settings):
        print(f"warning: {line}", file=sys.stderr)


def _calibrate(arguments: argparse.Namespace) -> None:
    """Measure the activation statistics that a plan needs."""
    from ptq.stages import calibrate_stage, calibration_folder, plan_stage

    study = _staged(arguments)
    with study.run.locked():
        stats = calibrate_stage(study, plan_stage(study))
    if not stats:
        nothing = "The plan has no static activations; nothing to measure."
        _show(arguments, {"layers": 0, "path": None, **UNCOVERED}, nothing)
        return
    _show(arguments, *calibrated(calibration_folder(study), len(stats)))


def _quantize(arguments: argparse.Namespace) -> None:
    """Quantize a model and write its packed checkpoint."""
    from ptq.checkpoint import packed_bytes
    from ptq.stages import PACKED, calibrate_stage, plan_stage, quantize_stage

    study = _staged(arguments)
    with study.run.locked():
        plan = plan_stage(study)
        quantize_stage(study, plan, calibrate_stage(study, plan))
    _warn(study)
    folder = study.run.path / PACKED
    size = packed_bytes(folder)
    _show(arguments, {"path": str(folder), "bytes": size}, f"{folder} ({megabytes(size)})")


def _sensitivity(arguments: argparse.Namespace) -> None:
    """Measure how much each layer minds each way of quantizing it."""
    study = _staged(arguments)
    found, check = measured(study, arguments)
    _warn(study)
    value = {"path": str(arguments.to), "layers": len(found.errors), "measure": found.measure}
    text = f"{len(found.errors)} layers, {found.measure} error: {arguments.to}"
    if check is not None:
        value |= additivity_figures(check, found.measure)
        text = f"{text}\n{additivity_text(check, found.measure)}"
    _show(arguments, value, text)


def _allocate(arguments: argparse.Namespace) -> None:
    """Allocate bits to layers under a budget, or show the Pareto front."""
    _show(arguments, *allocated(_load(arguments.adm), arguments))


def _smallest(arguments: argparse.Namespace) -> None:
    """Find the smallest plan whose study stays non-inferior; every probe is a study of its own."""
    adm = _load(arguments.adm)
    _show(arguments, *smallest_found(adm, arguments, _progress))


def _generate(arguments: argparse.Namespace) -> None:
    """Generate one full-precision clip."""
    from ptq.adms.sampling import SamplingSettings
    from ptq.audio import write_clip
    from ptq.generation import GenerationRequest, Generator

    if arguments.out.suffix.lower() != ".flac":
        raise ConfigError(f"The clip is written as FLAC; end {arguments.out.name!r} in .flac.")
    adm = _load(arguments.adm)
    guidance = guidance_of(arguments, adm)
    check_sampling(steps=arguments.steps, seconds=arguments.seconds, guidance=guidance)
    settings = SamplingSettings(steps=arguments.steps, guidance=guidance, seconds=arguments.seconds)
    request = GenerationRequest(prompts=(arguments.prompt,), seed=arguments.seed, settings=settings)
    clip = next(Generator(adm=adm, cached=arguments.cached)(request))
    if not np.isfinite(clip.audio.samples).all():
        raise MetricError("The model gave no numbers (NaN); check its weights.")
    path = str(write_clip(arguments.out, clip.audio))
    _show(arguments, {"path": path, "seconds": clip.audio.seconds}, path)


def _study(arguments: argparse.Namespace) -> None:
    """Calibrate, quantize, generate pairs, score them and write the report."""
    from ptq.metrics.embed.ear import find_ear
    from ptq.study import run_folder_of, run_study

    if arguments.link is not None:
        check_link(arguments.link)
    adm = _load(arguments.adm)
    config = study_config(arguments, adm)
    report = run_study(config, adm, runs=arguments.out, ear=find_ear(), on_event=_progress)
    run = run_folder_of(config, adm, arguments.out)
    folder = run.path
    if arguments.link is not None:
        run.link(arguments.link)
    text = f"{table(('', ''), summary_rows(report))}\n\nClips and report: {folder}{os.sep}"
    _show(arguments, json.loads(report.to_json()), text)


def _report(arguments: argparse.Namespace) -> None:
    """Print the report of a run."""
    from ptq.report_markdown import to_markdown

    report = read_run(arguments.run)
    _show(arguments, json.loads(report.to_json()), to_markdown(report))


def _compare(arguments: argparse.Namespace) -> None:
    """Set two runs side by side."""
    _show(arguments, *compared(read_run(arguments.run), read_run(arguments.other)))
