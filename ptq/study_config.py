"""What a study does: every input, as one value with a hash."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ptq.config import QuantConfig
from ptq.errors import ConfigError
from ptq.spelling import nearest

MAX_PROMPTS = 4096
# Samplers space their steps evenly over 1000: more than half of them cannot start at the noise.
MAX_STEPS = 500
# What the shortest clip of a denoiser that halves its latents three times takes.
MIN_SECONDS = 0.64
MAX_SECONDS = 60.0


# What ``ptq.calibration.strategies`` offers, known without loading torch.
STRATEGY_NAMES = ("uniform", "activation-aware", "density-diversity", "normal-in-time", "random")


@dataclass(frozen=True, kw_only=True)
class CalibrationSettings:
    """Which set the activation ranges are measured on.

    Attributes:
        strategy: How states are chosen.
        prompts: Prompts whose trajectories are recorded.
        covering: Whether the prompts are chosen to cover the model's input space, not drawn.
        states: States that the ranges rest on.
        reconstruction: Other states, which rounding looks at where a rule rounds by data.
        seed: Of the prompts, their noise and every random choice. Clips of the same seed begin from
            the same noise, of other prompts; those of a study's second bank have its seed plus one.
        texts: The prompts themselves, where somebody gave them: ``prompts`` says how many.
        reused: Folder of a calibration made elsewhere that is used instead; empty for a new one.
        reused_manifest: Hash of its manifest: what the study's results depend on.
    """

    strategy: str = "activation-aware"
    prompts: int = 16
    states: int = 120
    reconstruction: int = 40
    covering: bool = True
    seed: int = 1
    texts: tuple[str, ...] = ()
    reused: str = ""
    reused_manifest: str = ""

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGY_NAMES:
            raise ConfigError(
                f"There is no calibration strategy {self.strategy!r}; the nearest is "
                f"{nearest(self.strategy, STRATEGY_NAMES)!r}."
            )
        if not 1 <= self.prompts <= MAX_PROMPTS or (min(self.states, self.reconstruction) < 1):
            raise ConfigError(
                f"{self.states} and {self.reconstruction} states of {self.prompts} prompts cannot "
                f"calibrate; choose 1 to {MAX_PROMPTS} prompts and at least 1 state of each."
            )
        if self.seed < 0:
            raise ConfigError(f"The calibration seed is {self.seed}; choose 0 or more.")
        if self.texts and (len(self.texts) != self.prompts or self.covering):
            raise ConfigError(
                f"{len(self.texts)} given prompts are neither chosen to cover nor {self.prompts}; "
                "set covering to False and prompts to their number."
            )


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A study of one ADM and one quantization.

    Attributes:
        adm: Id of the model.
        quant: Rules for its layers.
        prompts: What is generated.
        seed: Seed of the pairs; the second full-precision bank uses ``seed + 1``.
        steps: Denoising steps.
        guidance: Classifier-free guidance scale.
        seconds: Length of a clip.
        batch_size: Clips sampled at once; part of the identity, see ``ptq.generation``.
        calibration: Calibration set.
        corrected: Whether the sampler undoes what of the quantization noise can be predicted.
    """

    adm: str
    quant: QuantConfig
    prompts: tuple[str, ...]
    seed: int = 0
    steps: int = 20
    guidance: float = 2.5
    seconds: float = 5.12
    batch_size: int = 4
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    corrected: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.prompts) <= MAX_PROMPTS:
            raise ConfigError(
                f"A study needs 1 to {MAX_PROMPTS} prompts, got {len(self.prompts)}; "
                "write one prompt a line."
            )
        if self.batch_size < 1:
            raise ConfigError(f"{self.batch_size} clips are no batch; sample 1 or more at once.")
        if self.seed < 0:
            raise ConfigError(f"The seed is {self.seed}; choose 0 or more.")
        check_sampling(steps=self.steps, seconds=self.seconds, guidance=self.guidance)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON values."""
        plain = {**asdict(self), "prompts": list(self.prompts)}
        return {**plain, "quant": json.loads(self.quant.to_json())}

    def identity(self, source_hash: str) -> str:
        """Hash of everything a result depends on, the model's weights included."""
        text = json.dumps([self.to_dict(), source_hash], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def check_sampling(*, steps: int, seconds: float, guidance: float) -> None:
    """Refuse settings that no clip can be sampled with.

    Raises:
        ConfigError: Naming the range.
    """
    if not 1 <= steps <= MAX_STEPS:
        raise ConfigError(f"{steps} steps are out of range; choose 1 to {MAX_STEPS}.")
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise ConfigError(
            f"{seconds} s is out of range; choose {MIN_SECONDS} to {MAX_SECONDS:g} seconds."
        )
    if not 1.0 <= guidance <= 30.0:
        raise ConfigError(
            f"Guidance {guidance} is out of range; choose 1 to 30, where 1 follows the text alone."
        )
