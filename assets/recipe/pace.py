"""How long the default study takes, for the page of a host where none has finished yet."""

import json
import tempfile
from pathlib import Path

from ptq.adms.base import AudioDiffusionModel
from ptq.metrics.embed.ear import find_ear
from ptq.presets import preset
from ptq.prompts.suites import Suite, draw_suite
from ptq.study import run_study
from ptq.study_config import StudyConfig

_PROMPTS = 8


def write_pace(adm: AudioDiffusionModel, path: Path) -> None:
    """Run the default study from nothing, its calibration shipped, and write its timings."""
    prompts = tuple(prompt.text for prompt in draw_suite(Suite.FINAL, _PROMPTS, 0))
    config = StudyConfig(adm=adm.id, quant=preset("ptq4adm"), prompts=prompts)
    with tempfile.TemporaryDirectory() as runs:
        report = run_study(config, adm, runs=Path(runs), ear=find_ear())
    work = {"prompts": _PROMPTS, "calibration": 0, "steps": config.steps, "seconds": config.seconds}
    timings_s = {stage: round(seconds, 1) for stage, seconds in report.timings_s.items()}
    found = {adm.id: {"work": work, "rounding": "gptq", "timings_s": timings_s}}
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
