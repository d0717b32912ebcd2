"""One study of ``benchmarks.cost``, measured in this process: ``python -m benchmarks.cost_case``.

It is given a model and a case as JSON, and prints seconds and memory by stage as JSON.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.stage_peaks import StagePeaks
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm, lexicon_of
from ptq.config import QuantConfig, parse_rules
from ptq.memory import keep_freed_memory
from ptq.metrics.embed.ear import find_ear
from ptq.presets import preset
from ptq.prompts.suites import Suite, draw_suite
from ptq.study import run_study
from ptq.study_config import CalibrationSettings, StudyConfig

_SEED = 2


@dataclass(frozen=True, kw_only=True)
class Case:
    """One study: what is varied against the first."""

    preset: str = "ptq4adm"
    rules: str = ""
    prompts: int = 4
    steps: int = 20
    calibration: str = "uniform"
    covering: bool = False
    calibration_prompts: int = 4
    calibration_states: int = 40

    @property
    def title(self) -> str:
        """The case in a table."""
        plan = "half of the layers" if self.rules else self.preset
        prompts = "covering" if self.covering else "drawn"
        return (
            f"{plan}, {self.prompts} prompts, {self.steps} steps, {self.calibration_states}"
            f" {self.calibration} states of {self.calibration_prompts} {prompts} prompts"
        )

    def config(self, adm: str) -> StudyConfig:
        """The study.

        Its calibration has another seed than the default, which ships and would cost nothing.
        """
        rules = parse_rules(self.rules) if self.rules else preset(self.preset).rules
        drawn = draw_suite(Suite.FINAL, self.prompts, 0, lexicon_of(adm))
        return StudyConfig(
            adm=adm,
            quant=QuantConfig(name=self.preset, rules=rules),
            prompts=tuple(prompt.text for prompt in drawn),
            steps=self.steps,
            calibration=CalibrationSettings(
                strategy=self.calibration,
                covering=self.covering,
                prompts=self.calibration_prompts,
                states=self.calibration_states,
                seed=_SEED,
            ),
        )

    def flags(self) -> list[str]:
        """What the command line is told of the same calibration."""
        return [
            *("--calibration", self.calibration),
            "--covering" if self.covering else "--no-covering",
            *("--calibration-prompts", str(self.calibration_prompts)),
            *("--calibration-states", str(self.calibration_states)),
            *("--calibration-seed", str(_SEED)),
        ]


def main() -> None:
    """Run the study and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adm")
    parser.add_argument("case", help="as JSON")
    arguments = parser.parse_args()
    keep_freed_memory()
    case = Case(**json.loads(arguments.case))
    print(json.dumps(_measured(arguments.adm, case)))


def _measured(adm_id: str, case: Case) -> dict[str, Any]:
    adm, peaks = load_adm(find_adm(adm_id)), StagePeaks()
    with tempfile.TemporaryDirectory() as folder:
        report = run_study(
            case.config(adm_id), adm, runs=Path(folder), ear=find_ear(), on_event=peaks
        )
    return {
        "seconds": dict(report.timings_s),
        "peak_bytes": peaks.finish(),
        "layers": sum(layer.executed != "float" for layer in report.layers),
    }


if __name__ == "__main__":
    main()
