"""What a study costs, stage by stage, and how that grows: ``python -m benchmarks.cost``.

Every study runs in a process of its own, so that its peak memory is its own. Times are this
machine's; what carries over is how they compare: to the full-precision clips of the same study,
and from one study to a larger one. Last comes PTQ4ADM from nothing: prompts and states are chosen,
ranges measured, bits allocated by the sensitivities that ship, weights rounded and packed; what it
takes to measure sensitivities anew stands beside it. What is finished is kept.
"""

import argparse
import json
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
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.report_markdown import table
from ptq.shipped_sensitivities import SENSITIVITIES_FOLDER
from ptq.study_events import Stage

_KILOBYTE = 1024  # what Linux counts a process's peak memory in
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

    def flags(self) -> list[str]:
        """What the command line is told of the calibration.

        Another seed than the default's, whose calibration ships and would cost nothing.
        """
        return [
            *("--calibration", self.calibration),
            "--covering" if self.covering else "--no-covering",
            *("--calibration-prompts", str(self.calibration_prompts)),
            *("--calibration-states", str(self.calibration_states)),
            *("--calibration-seed", "2"),
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
    print(table(("study", *_STAGES, "all", "peak memory"), list(_cells(rows))))
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
    with tempfile.TemporaryDirectory() as folder:
        plan = ["--preset", case.preset]
        if case.rules:
            file = Path(folder) / "half.rules"
            file.write_text(case.rules, encoding="utf-8")
            plan = ["--plan", str(file)]
        command = [sys.executable, "-m", "ptq", "study", adm, *plan, "--json", "--out", folder]
        command += ["--prompts", str(case.prompts), "--steps", str(case.steps)]
        command += case.flags()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            text = process.stdout.read() if process.stdout is not None else ""
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"The study '{case.title}' ended with {process.returncode}.")
    report = json.loads(text)
    return {
        "seconds": report["timings_s"],
        "peak_bytes": usage.ru_maxrss * _KILOBYTE,
        "layers": sum(layer["executed"] != "float" for layer in report["layers"]),
    }


def _cells(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Stages in units of the study's own full-precision clips."""
    for row in rows:
        seconds = row["seconds"]
        unit = seconds[Stage.REFERENCE]
        stages = (f"{seconds[stage] / unit:.2f}" if stage in seconds else "–" for stage in _STAGES)
        whole = sum(seconds.values()) / unit
        yield row["title"], *stages, f"{whole:.2f}", f"{row['peak_bytes'] / 1e9:.2f} GB"


if __name__ == "__main__":
    main()
