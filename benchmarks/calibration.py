"""Does each contribution of PTQ4ADM help? Prompts, states and set sizes, everything else alike.

``python -m benchmarks.calibration [--seeds 1 2 3] [--sizes 32 64 …] [--pairs 64] [--clips 512]``

Static 8-bit activations per tensor are where calibration can matter, beside 8-bit weights that hide
nothing of it, and 4-bit weights whose rounding by GPTQ rests on the same states, too. Dynamic
activations with rounding to nearest are the negative control: the model is the same, bit for bit,
whatever calibrates, and is measured once. Measured against full precision on states of held-out
prompts (guided prediction) and on final latents of pairs, beside how much a set reaches of what
layers are given along held-out trajectories. All these have half of the model's own length, on
which the denoiser was mostly trained. The four corners of one seed are also calibrated and scored
by FD at its own length, on the prompts and noise of ``benchmarks.claim``: their intervals speak of
prompts, not of other calibrations. Finished rows are kept: an interrupted run resumes, on the same
kind of device.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.calibration_cells import (
    HELD_OUT,
    PLANS,
    PROMPTS,
    RECORDED,
    SHORT,
    STRATEGIES,
    Cell,
    Cells,
    key_of,
)
from benchmarks.calibration_corners import CORNERS, Corners, show_corners
from benchmarks.calibration_effects import (
    control_is_alike,
    effects_of,
    reach_of,
    show_effects,
    show_reach,
)
from benchmarks.claim import FRESH
from benchmarks.clips import SETTINGS
from benchmarks.presets import PlanBench
from benchmarks.records import earlier, write_results
from ptq.adms.loading import load_adm
from ptq.adms.placed import device_name
from ptq.adms.registry import find_adm, lexicon_of
from ptq.banks import ear_id
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.prompts.suites import Suite, draw_suite


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--pairs", type=int, default=64, help="0 leaves the latents out")
    parser.add_argument("--clips", type=int, default=512, help="0 leaves the corners' FD out")
    arguments = parser.parse_args()
    adm, ear = load_adm(find_adm("mini-audioldm")), find_ear()
    if not isinstance(ear, Ear):
        raise SystemExit(f"Corners are scored with the shipped ear: {ear}")
    what = {
        **{"adm": adm.id, "model": adm.source_hash, "ear": ear_id(ear)},
        **{"settings": asdict(SHORT), "pairs": arguments.pairs, "device": device_name()},
        **{"plans": dict(PLANS), "recorded": RECORDED, "held_out": HELD_OUT},
    }
    known = earlier("calibration", what)
    rows, corners = list(known.get("rows", [])), list(known.get("corners", []))
    cells = Cells(adm=adm, pairs=arguments.pairs)
    done = {key_of(row) for row in rows}
    wanted = cells_of(arguments.seeds, arguments.sizes)
    for cell, scores in cells.rows([cell for cell in wanted if cell not in done]):
        rows.append({**asdict(cell), **scores})
        print(asdict(cell), flush=True)
        _write(what, rows, corners)
    if arguments.clips:
        prompts = draw_suite(Suite.FINAL, arguments.clips, FRESH, lexicon_of(adm.id))
        scorer = PlanBench(adm=adm, ear=ear, prompts=prompts, configs={}, seed=FRESH)
        long = Corners(cells=replace(cells, settings=SETTINGS), scorer=scorer)
        scored = {key_of(row) for row in corners if row["clips"] == arguments.clips}
        for cell in CORNERS:
            if cell not in scored:
                corners.append({**asdict(cell), "clips": arguments.clips, **long.row(cell)})
                _write(what, rows, corners)
    show_effects(list(effects_of(rows)))
    print(f"The control is the same, number for number, in all its cells: {control_is_alike(rows)}")
    show_reach(list(reach_of(rows)))
    show_corners([row for row in corners if row["clips"] == arguments.clips])
    print(_write(what, rows, corners))


def _write(
    what: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], corners: Sequence[Mapping[str, Any]]
) -> Path:
    found = {
        **{"effects": list(effects_of(rows)), "reach": list(reach_of(rows))},
        "control_is_alike": control_is_alike(rows),
    }
    return write_results("calibration", {**what, "rows": rows, "corners": corners, **found})


def cells_of(seeds: Sequence[int], sizes: Sequence[int]) -> list[Cell]:
    """Every cell, those of one pool beside each other."""
    return [
        Cell(prompts=prompts, states=states, size=size, seed=seed, plan=plan)
        for seed in seeds
        for prompts in PROMPTS
        for states in STRATEGIES
        for size in sizes
        for plan in PLANS
    ]


if __name__ == "__main__":
    main()
