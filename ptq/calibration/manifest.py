"""What calibration statistics were measured on, and whether they fit what is sampled."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ptq.adms.sampling import SamplingSettings
from ptq.errors import CalibrationError

MANIFEST_SCHEMA = 1

# How a note begins that tells of a mismatch.
MISMATCH = "Calibrated with"


@dataclass(frozen=True, kw_only=True)
class CalibrationManifest:
    """Ties statistics to sampler, steps, guidance, length and model.

    ``states`` counts those that ranges rest on, ``reconstruction`` those that rounding looks at.
    ``balanced`` names the layers whose channels were evened out, and how.
    ``coverage`` says what the states reach of all that were recorded, where that was measured, and
    ``site_coverage`` how much of its peak each layer reaches; see ``ptq.calibration.coverage``.
    ``random_site_coverage`` is what random sets of the same size reach there. ``prompt_coverage``
    says what the prompts cover of a reference, which covering ones are chosen by, ``prompt_rounds``
    how the set grew that they were chosen from; see ``ptq.prompts.space``. None of the three
    changes what is measured, and none is part of the identity.
    """

    strategy: str
    model_hash: str
    sampler: str
    steps: int
    guidance: float
    seconds: float
    seed: int
    buckets: int
    prompts: tuple[str, ...]
    states: int
    reconstruction: int = 0
    covering: bool = False
    balanced: Mapping[str, str] = field(default_factory=dict)
    coverage: Mapping[str, float] = field(default_factory=dict)
    site_coverage: Mapping[str, float] = field(default_factory=dict)
    random_site_coverage: Mapping[str, float] = field(default_factory=dict)
    prompt_coverage: Mapping[str, float] = field(default_factory=dict)
    prompt_rounds: tuple[Mapping[str, float], ...] = ()
    schema: int = MANIFEST_SCHEMA

    @property
    def sha256(self) -> str:
        """Identity of the calibration set."""
        told = {"random_site_coverage", "prompt_coverage", "prompt_rounds"}
        made_of = {name: value for name, value in asdict(self).items() if name not in told}
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The manifest as JSON text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "CalibrationManifest":
        """Read what ``to_json`` wrote.

        Raises:
            CalibrationError: If the text is no manifest of this schema.
        """
        try:
            data = json.loads(text)
            lists = {"prompts": data["prompts"], "prompt_rounds": data.get("prompt_rounds", ())}
            manifest = cls(**{**data, **{name: tuple(found) for name, found in lists.items()}})
        except (TypeError, KeyError, ValueError) as error:
            raise CalibrationError(
                f"The calibration manifest is damaged ({error}); calibrate again."
            ) from error
        if manifest.schema != MANIFEST_SCHEMA:
            raise CalibrationError(
                f"The calibration manifest has schema {manifest.schema}, this version reads "
                f"{MANIFEST_SCHEMA}; calibrate again."
            )
        return manifest

    @property
    def sampling(self) -> SamplingSettings:
        """The settings whose trajectories were recorded."""
        return SamplingSettings(steps=self.steps, guidance=self.guidance, seconds=self.seconds)

    def mismatches(self, sampler: str, settings: SamplingSettings) -> tuple[str, ...]:
        """One sentence for each setting in which something is sampled differently."""
        used = {"sampler": sampler, **asdict(settings)}
        return tuple(self._differences(used))

    def check_model(self, model_hash: str) -> None:
        """Refuse statistics of another model.

        Raises:
            CalibrationError: If the hashes differ.
        """
        if model_hash != self.model_hash:
            raise CalibrationError(
                f"The statistics belong to the model {self.model_hash[:12]}, not to "
                f"{model_hash[:12]}; calibrate this model."
            )

    def _differences(self, used: Mapping[str, Any]) -> Iterator[str]:
        for name, theirs in used.items():
            mine = getattr(self, name)
            if mine != theirs:
                yield (
                    f"{MISMATCH} {name} {mine}, sampled with {theirs}: "
                    "ranges may not fit; calibrate again with the deployed settings."
                )
