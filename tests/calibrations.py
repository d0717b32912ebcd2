"""Calibrations that tests can afford."""

import numpy as np

from ptq.calibration.signatures import Signatures
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


def made_up(states: int = 60, seed: int = 0) -> Signatures:
    """Sixty states, of which a few reach the outlier channels of two sites."""
    rng = np.random.default_rng(seed)
    peaks = {f"site{i}": rng.uniform(0.5, 1.0, (states, 30)).astype(np.float32) for i in range(2)}
    for i, found in enumerate(peaks.values()):
        for channel in range(6):
            found[(7 * channel + i) % states, channel] = 8.0 + channel
    return Signatures(
        shapes=rng.standard_normal((states, 2, 4)).astype(np.float32),
        peaks=peaks,
        middle=rng.standard_normal((states, 12)).astype(np.float32),
        sensitivity={name: np.ones(30, dtype=np.float32) for name in peaks},
    )
