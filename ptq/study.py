"""A study: plan, calibrate, quantize, generate pairs, score, report."""

from pathlib import Path

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.sampling import ShouldStop, never_stop
from ptq.assemble import build_report
from ptq.report import Report, read_report
from ptq.report_html import to_html
from ptq.report_markdown import to_markdown
from ptq.run_folder import REPORT_NAME, RunFolder
from ptq.scoring import Ear, ear_id
from ptq.stages import (
    FULL,
    QUANTIZED,
    SECOND,
    StudyContext,
    calibrate_stage,
    generate_stage,
    plan_stage,
    quantize_stage,
)
from ptq.study_config import StudyConfig
from ptq.study_events import OnEvent, Stage, StudyEvent, ignore_event


def run_folder_of(config: StudyConfig, adm: AudioDiffusionModel, runs: Path) -> RunFolder:
    """The folder in which a study of this configuration and model lives."""
    return RunFolder.at(runs, config.identity(adm.source_hash))


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
        PTQError: If the plan does not fit the model or a file of the run is damaged.
    """
    run = run_folder_of(config, adm, runs)
    finished = run.path / REPORT_NAME
    # Another ear only scores again: everything else is there.
    known = read_report(finished) if finished.exists() else None
    if known is not None and known.environment.get("ear") == ear_id(ear):
        on_event(StudyEvent(stage=Stage.REPORT, done=1, total=1, artefact=finished))
        return known
    run.write_json("config.json", config.to_dict())
    study = StudyContext(
        config=config, adm=adm, run=run, on_event=on_event, should_stop=should_stop
    )
    plan = plan_stage(study)
    generate_stage(study, Stage.REFERENCE, FULL, adm)
    stats = calibrate_stage(study, plan)
    quantized = quantize_stage(study, plan, stats)
    generate_stage(study, Stage.ESTIMATE, QUANTIZED, quantized)
    generate_stage(study, Stage.SECOND_SEED, SECOND, adm)
    report = build_report(study, plan, quantized, ear)
    run.write_text("report.md", to_markdown(report))
    run.write_text("report.html", to_html(report, run.path))
    study.tell(Stage.REPORT, 1, 1, run.write_text(REPORT_NAME, report.to_json()))
    return report
