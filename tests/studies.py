"""A small study that several tests run, and how two of its reports are compared."""

from dataclasses import replace

from ptq.presets import preset
from ptq.report import Report
from ptq.study_config import StudyConfig
from tests.calibrations import drawn

NO_EAR = "this test has no ear"
CONFIG = StudyConfig(
    adm="tiny",
    quant=preset("w8a8"),
    prompts=("a dog barks", "rain falls", "a bell rings"),
    steps=3,
    seconds=0.64,
    batch_size=2,
    calibration=drawn(prompts=2, states=6),
)


def untimed(report: Report) -> str:
    """A report's text without the only thing that differs between two runs of a study."""
    return replace(report, timings_s={}).to_json()
