"""A study: plan, calibrate, quantize, generate pairs, score, report."""

import os
import shutil
from pathlib import Path

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.sampling import ShouldStop, never_stop
from ptq.assemble import build_report
from ptq.banks import Ear, ear_id
from ptq.errors import CheckpointError
from ptq.plan import QuantPlan, resolve_plan
from ptq.report import Report, read_report
from ptq.report_html import to_html
from ptq.report_markdown import to_markdown
from ptq.run_folder import REPORT_NAME, RunFolder
from ptq.stages import (
    FULL,
    QUANTIZED,
    SECOND,
    StudyContext,
    calibrate_stage,
    correct_stage,
    generate_stage,
    plan_stage,
    quantize_stage,
)
from ptq.study_config import StudyConfig
from ptq.study_events import OnEvent, Stage, StudyEvent, ignore_event


def run_folder_of(config: StudyConfig, adm: AudioDiffusionModel, runs: Path) -> RunFolder:
    """The folder in which a study of this configuration and model lives."""
    return RunFolder.at(runs, config.identity(adm.source_hash))


def share_full_precision(source: RunFolder, target: RunFolder) -> None:
    """Let a run begin with the full-precision clips of another that has only another plan.

    Files are linked, where the file system can, and not generated again.

    Args:
        source: A finished run of the same model, prompts, seed and sampling.
        target: A run to come; what it has already stays.
    """
    for bank in (FULL, SECOND):
        for path in sorted((source.path / bank).iterdir()):
            copy = target.file(bank, path.name)
            if path.suffix != ".partial" and not copy.exists():
                # Under a name of its own until it is whole, for whoever stops or runs beside this.
                partial = copy.with_name(f"{copy.name}.{os.getpid()}.partial")
                partial.unlink(missing_ok=True)
                try:
                    partial.hardlink_to(path)
                except OSError:
                    shutil.copy2(path, partial)
                partial.replace(copy)
                partial.unlink(missing_ok=True)  # stays where both are one file by now


def run_study(
    config: StudyConfig,
    adm: AudioDiffusionModel,
    *,
    runs: Path,
    ear: Ear | str,
    on_event: OnEvent = ignore_event,
    should_stop: ShouldStop = never_stop,
) -> Report:
    """Run a study, or what is missing of it, and return its report.

    Args:
        config: What to do.
        adm: The full-precision model; it is not changed.
        runs: Folder of all runs; the study's own is named by its inputs' hash.
        ear: The embedder, or the reason why there is none.
        on_event: Receives progress and every file as soon as it exists.
        should_stop: Asked at every layer and every denoising step.

    Raises:
        Cancelled: If ``should_stop`` said so; what is finished is kept.
        RunBusyError: If another process makes the same run.
        PTQError: If the plan does not fit the model or a file of the run is damaged.
    """
    run = run_folder_of(config, adm, runs)
    study = StudyContext(
        config=config, adm=adm, run=run, on_event=on_event, should_stop=should_stop
    )
    plan = resolve_plan(config.quant, study.layers())  # refused before anything is written
    known = _finished(study, plan, ear)
    if known is not None:
        artefact = run.path / REPORT_NAME
        on_event(StudyEvent(stage=Stage.REPORT, done=1, total=1, artefact=artefact))
        return known
    with run.locked():
        return _run(study, ear)


def _finished(study: StudyContext, plan: QuantPlan, ear: Ear | str) -> Report | None:
    """The report of an earlier run, if its plan and its ear are still the same."""
    try:
        known = read_report(study.run.path / REPORT_NAME)
    except CheckpointError:  # none, or one that cannot be read: it is written again
        return None
    is_current = known.plan.hash == plan.sha256 and known.environment.get("ear") == ear_id(ear)
    return known if is_current else None


def _run(study: StudyContext, ear: Ear | str) -> Report:
    adm, run = study.adm, study.run
    run.write_json("config.json", study.config.to_dict())
    plan = plan_stage(study)
    generate_stage(study, Stage.REFERENCE, FULL, adm)
    stats = calibrate_stage(study, plan)
    quantized = quantize_stage(study, plan, stats)
    generate_stage(study, Stage.ESTIMATE, QUANTIZED, quantized, correct_stage(study, quantized))
    generate_stage(study, Stage.SECOND_SEED, SECOND, adm)
    report = build_report(study, plan, quantized, ear)
    run.write_text("report.md", to_markdown(report))
    run.write_text("report.html", to_html(report, run.path))
    study.tell(Stage.REPORT, 1, 1, run.write_text(REPORT_NAME, report.to_json()))
    return report
