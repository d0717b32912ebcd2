"""What a study costs, stage by stage, and how that grows: ``python -m benchmarks.cost``.

Every study runs in a process of its own, so that its memory is its own: the most that it held in
each stage, as Linux counts it, the model and torch included. Times are this
machine's; what carries over is how they compare: to the full-precision clips of the same study,
and from one study to a larger one. Last comes PTQ4ADM from nothing: prompts and states are chosen,
ranges measured, bits allocated by the sensitivities that ship, weights rounded and packed; what it
takes to measure sensitivities anew stands beside it. What is finished is kept.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from app.handlers.configure import ConfigureHandlers
from app.settings import Settings
from app.workbench import Workbench
from benchmarks.records import earlier, write_results
from benchmarks.stage_peaks import StagePeaks
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm, lexicon_of
from ptq.config import QuantConfig, parse_rules
from ptq.metrics.embed.ear import find_ear
from ptq.presets import preset
from ptq.prompts.suites import Suite, draw_suite
from ptq.report_markdown import table
from ptq.shipped_sensitivities import SENSITIVITIES_FOLDER
from ptq.study import run_study
from ptq.study_config import CalibrationSettings, StudyConfig
from ptq.study_events import Stage

_SEED = 2
_HALF = "denoiser.up_blocks.* = w4 asym group mse gptq a8\n* = keep\n"
_STAGES = tuple(
    stage.value
    for stage in (
        *(Stage.REFERENCE, Stage.CALIBRATE, Stage.QUANTIZE),
        *(Stage.ESTIMATE, Stage.SECOND_SEED, Stage.SCORE),
    )
)


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


# Both of the paper's choices, as small as they make sense.
FAST = Case(calibration="activation-aware", covering=True)
CASES = (
    Case(),
    Case(prompts=8),
    Case(prompts=16),
    Case(steps=10),
    Case(steps=40),
    Case(rules=_HALF),
    Case(preset="w8a8"),
    Case(calibration="activation-aware"),
    FAST,
    replace(FAST, calibration_prompts=16, calibration_states=120),
)


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adm", default="mini-audioldm")
    arguments = parser.parse_args()
    model = load_adm(find_adm(arguments.adm)).source_hash
    what = {"adm": arguments.adm, "model": model, "cores": len(os.sched_getaffinity(0))}
    known = earlier("cost", what)
    rows, whole = list(known.get("rows", [])), dict(known.get("whole", {}))
    for case in CASES:
        if not any(row["case"] == asdict(case) for row in rows):
            rows.append(
                {"case": asdict(case), "title": case.title, **_measured(arguments.adm, case)}
            )
            write_results("cost", {**what, "rows": rows, "whole": whole})
    rows = [row for case in CASES for row in rows if row["case"] == asdict(case)]
    whole = whole or _whole(arguments.adm)
    replanned = _replanned(arguments.adm)
    path = write_results("cost", {**what, "rows": rows, "whole": whole, "replan": replanned})
    print(table(("study", *_STAGES, "all"), list(_cells(rows))))
    print(table(("study", *_STAGES), list(_memory(rows))))
    print(f"PTQ4ADM from nothing, here: {whole['allocate'] + whole['quantize']:.0f} s")
    print(f"A budget planned anew on the page: {replanned:.2f} s")
    print(f"Sensitivities measured anew: {whole['sensitivity']:.0f} s")
    print(path)


def _replanned(adm_id: str) -> float:
    """Seconds from a budget on the page to its rules."""
    configure = ConfigureHandlers(Workbench(Settings()))
    rules = configure.choose_preset("ptq4adm")
    least = configure.sizes(adm_id, rules)["minimum"]
    start = time.monotonic()
    configure.replan(adm_id, rules, least + 0.5)
    return round(time.monotonic() - start, 3)


def _whole(adm: str) -> dict[str, float]:
    """Seconds of each command that makes a selective plan and its file, Python's start included.

    Sensitivities ship with an embedded model; measuring them anew stands beside the rest.
    """
    plan = ("--preset", "ptq4adm")
    with tempfile.TemporaryDirectory() as folder:
        rules, table_file = f"{folder}/my.rules", f"{folder}/sensitivities.json"
        chosen = (*FAST.flags(), "--out", f"{folder}/runs")
        shipped = str(SENSITIVITIES_FOLDER / f"{adm}.json")
        budget = ("--bits", "4.5", "--out", rules)
        return {
            "allocate": _timed("allocate", adm, *plan, "--sensitivities", shipped, *budget),
            "quantize": _timed("quantize", adm, "--plan", rules, *chosen),
            "sensitivity": _timed("sensitivity", adm, *plan, *chosen, "--to", table_file),
        }


def _timed(*command: str) -> float:
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "ptq", *command], check=True, stdout=subprocess.DEVNULL)
    return round(time.monotonic() - start, 1)


def _measured(adm: str, case: Case) -> dict[str, Any]:
    """One study in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_study, (adm, case))


def _study(adm_id: str, case: Case) -> dict[str, Any]:
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


def _cells(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Stages in units of the study's own full-precision clips."""
    for row in rows:
        seconds = row["seconds"]
        unit = seconds[Stage.REFERENCE]
        stages = (f"{seconds[stage] / unit:.2f}" if stage in seconds else "–" for stage in _STAGES)
        yield row["title"], *stages, f"{sum(seconds.values()) / unit:.2f}"


def _memory(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The most memory that the process held in each stage."""
    for row in rows:
        peaks = row["peak_bytes"]
        stages = (f"{peaks[stage] / 1e9:.2f} GB" if stage in peaks else "–" for stage in _STAGES)
        yield row["title"], *stages


if __name__ == "__main__":
    main()
