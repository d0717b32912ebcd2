"""Calibrations that tests can afford."""

from ptq.study_config import CalibrationSettings


def drawn(*, prompts: int = 2, states: int = 3, reconstruction: int = 2) -> CalibrationSettings:
    """Settings of a quick calibration: prompts are drawn, and states spread evenly."""
    return CalibrationSettings(
        strategy="uniform",
        covering=False,
        prompts=prompts,
        states=states,
        reconstruction=reconstruction,
    )
