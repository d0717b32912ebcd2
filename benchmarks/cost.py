"""What a study costs, stage by stage, and how that grows: ``python -m benchmarks.cost``.

Every study runs in a process of its own, so that its memory is its own: the most that it held in
each stage, as Linux counts it, the model and torch included. Times are this
machine's; what carries over is how they compare: to the full-precision clips of the same study,
and from one study to a larger one. Last comes PTQ4ADM from nothing: prompts and states are chosen,
ranges measured, bits allocated by the sensitivities that ship, weights rounded and packed; what it
takes to measure sensitivities anew stands beside it. What is finished is kept.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from app.handlers.configure import ConfigureHandlers
from app.settings import Settings
from app.workbench import Workbench
from benchmarks.cores import usable_cores
from benchmarks.cost_case import Case
from benchmarks.records import earlier, write_results
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.report_markdown import table
from ptq.shipped_sensitivities import SENSITIVITIES_FOLDER
from ptq.study_events import Stage

_BUDGETS = 100
_HALF = "denoiser.up_blocks.* = w4 asym group mse gptq a8\n* = keep\n"
_STAGES = tuple(
    stage.value
    for stage in (
        *(Stage.REFERENCE, Stage.CALIBRATE, Stage.QUANTIZE),
        *(Stage.ESTIMATE, Stage.SECOND_SEED, Stage.SCORE),
    )
)


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
    what = {"adm": arguments.adm, "model": model, "cores": usable_cores(), "memory": "by stage"}
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
    print(f"A budget planned anew on the page, the longest of {_BUDGETS}: {replanned:.2f} s")
    print(f"Sensitivities measured anew: {whole['sensitivity']:.0f} s")
    print(path)


def _replanned(adm_id: str) -> float:
    """Seconds from a budget on the page to its rules, the longest of some over all sizes."""
    configure = ConfigureHandlers(Workbench(Settings()))
    rules = configure.choose_preset("ptq4adm", "")
    offered = configure.sizes(adm_id, rules)
    longest = 0.0
    for megabytes in np.linspace(offered["minimum"], offered["maximum"], _BUDGETS):
        start = time.monotonic()
        configure.replan(adm_id, rules, float(megabytes))
        longest = max(longest, time.monotonic() - start)
    return round(longest, 3)


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
    """One study in a process of its own, which imports what a study needs and no more."""
    command = [sys.executable, "-m", "benchmarks.cost_case", adm, json.dumps(asdict(case))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


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
