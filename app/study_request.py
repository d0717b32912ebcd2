"""What a visitor asks for, checked against the limits of the page before anything runs."""

from dataclasses import dataclass

from app.rules import excess
from app.settings import Settings
from ptq.config import QuantConfig, parse_rules
from ptq.errors import ConfigError
from ptq.presets import PRESETS
from ptq.study_config import CalibrationSettings, StudyConfig

MAX_PROMPT_CHARACTERS = 200
DEFAULT_CALIBRATION_PROMPTS = CalibrationSettings().prompts
MAX_CALIBRATION_PROMPTS = 64
DEFAULT_CALIBRATION_STATES = CalibrationSettings().states
MAX_CALIBRATION_STATES = 512
DEFAULT_STRATEGY = CalibrationSettings().strategy
DEFAULT_COVERING = CalibrationSettings().covering
MAX_SEED = 2**31 - 1
DEFAULT_PRESET = "ptq4adm"


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """A study as the page's controls describe it.

    Attributes:
        adm: Id of the model.
        prompts: One prompt a line.
        rules: One rule a line.
        preset: The preset that the rules began as.
        seed: Seed of the pairs.
        steps: Denoising steps.
        guidance: Classifier-free guidance scale.
        seconds: Length of a clip.
        calibration_prompts: Prompts that activation ranges are measured on.
        strategy: How the states that ranges rest on are chosen.
        calibration_states: How many.
        covering: Whether the calibration prompts are chosen to cover what the model can be asked.
    """

    adm: str
    prompts: str
    rules: str
    preset: str
    seed: float
    steps: float
    guidance: float
    seconds: float
    calibration_prompts: float
    strategy: str = DEFAULT_STRATEGY
    calibration_states: float = DEFAULT_CALIBRATION_STATES
    covering: bool = DEFAULT_COVERING

    def to_config(self, settings: Settings) -> StudyConfig:
        """Return the study.

        Raises:
            ConfigError: Something exceeds a limit or cannot be read.
        """
        return StudyConfig(
            adm=self.adm,
            quant=quant_config(self.preset, self.rules),
            prompts=read_lines(self.prompts, settings.max_prompts),
            seed=_whole("The seed", self.seed, 0, MAX_SEED),
            steps=_whole("The number of steps", self.steps, 1, settings.max_steps),
            guidance=_number("The guidance", self.guidance, 1.0, 30.0),
            seconds=_number("The length in seconds", self.seconds, 0.64, settings.max_seconds),
            calibration=CalibrationSettings(
                prompts=_whole(
                    "The number of calibration prompts",
                    self.calibration_prompts,
                    1,
                    MAX_CALIBRATION_PROMPTS,
                ),
                strategy=self.strategy,
                states=_whole(
                    "The number of calibration states",
                    self.calibration_states,
                    1,
                    MAX_CALIBRATION_STATES,
                ),
                covering=bool(self.covering),
            ),
        )


def read_lines(text: str, at_most: int) -> tuple[str, ...]:
    """The prompts of a text, one a line.

    Raises:
        ConfigError: There are none or too many, or one is too long.
    """
    prompts = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not 1 <= len(prompts) <= at_most:
        raise ConfigError(
            f"There are {len(prompts)} prompts; write 1 to {at_most}, one a line."
            if prompts
            else "There is no prompt yet; write one, or pick a suggestion."
        )
    longest = max(prompts, key=len)
    if len(longest) > MAX_PROMPT_CHARACTERS:
        raise ConfigError(
            f"The prompt {longest[:40]!r}… has {len(longest)} characters; "
            f"use at most {MAX_PROMPT_CHARACTERS}."
        )
    return prompts


def quant_config(preset: str, rules: str) -> QuantConfig:
    """The rules of a text; named after the preset, and *edited* where they differ from it.

    Raises:
        ConfigError: A line cannot be read, or there is too much text.
    """
    if (long := excess(rules)) is not None:
        raise ConfigError(str(long))
    parsed = parse_rules(rules)
    known = PRESETS.get(preset)
    if known is not None and known.rules == parsed:
        return known
    return QuantConfig(name=f"{preset}, edited" if known else "custom", rules=parsed)


def _whole(what: str, value: float, low: int, high: int) -> int:
    number = _number(what, value, low, high)
    if number != int(number):
        raise ConfigError(f"{what} is {value}; give a whole number.")
    return int(number)


def _number(what: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"{what} is {value!r}; choose {_plain(low)} to {_plain(high)}.")
    return float(value)


def _plain(limit: float) -> str:
    """A limit as people write it: 2147483647, 0.64."""
    return f"{limit:.0f}" if limit == int(limit) else f"{limit:g}"
