"""Does each contribution of PTQ4ADM help? Prompts, states and set sizes, everything else alike.

``python -m benchmarks.calibration [--seeds 1 2 3] [--sizes 32 64 …] [--pairs 64] [--clips 512]``

Static 8-bit activations per tensor with 4-bit weights rounded by GPTQ are where calibration can
matter; dynamic activations with rounding to nearest are the negative control, which must not change
at all. Measured against full precision on states of held-out prompts (guided prediction) and on
final latents of pairs, beside how much a set reaches of what layers are given along held-out
trajectories. All these have half of the model's own length, on which the denoiser was mostly
trained. The four corners are also calibrated and scored by FD at its own length, on the prompts and
noise of ``benchmarks.claim``. Finished rows are kept: an interrupted run resumes, on the same kind
of device.
"""

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats as statistics

from benchmarks.calibration_cells import (
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
from ptq.report_markdown import table

_REACH = {
    "range_mean": "of the peaks met",
    "range_least": "of the worst layer's",
    "outlier_channels": "of the outlier channels",
}


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
        **{"plans": dict(PLANS), "recorded": RECORDED},
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
        corners = [row for row in corners if row["n"] == arguments.clips]
        scored = {key_of(row) for row in corners}
        for cell in CORNERS:
            if cell not in scored:
                corners.append({**asdict(cell), **long.row(cell)})
                _write(what, rows, corners)
    show(list(effects_of(rows)))
    show_reach(list(reach_of(rows)))
    show_corners(corners)
    print(_write(what, rows, corners))


def _write(
    what: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], corners: Sequence[Mapping[str, Any]]
) -> Path:
    found = {"effects": list(effects_of(rows)), "reach": list(reach_of(rows))}
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


def effects_of(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Gain over random prompts with uniform states, by plan, paired over prompts, sizes and seeds.

    The sets of one seed share prompts and noise: their gains are averaged, and seeds alone tell how
    sure the mean is. Seeds that lack a size are left out.
    """
    found = {key_of(row): row for row in rows}
    measures = [name for name in rows[0] if name.endswith("_db")] if rows else []
    for plan, prompts, states, name in itertools.product(PLANS, PROMPTS, STRATEGIES, measures):
        by_seed: dict[int, list[float]] = {}
        for row in rows:
            base = found.get(_base_of(row))
            ours = (row["plan"], row["prompts"], row["states"]) == (plan, prompts, states)
            if ours and base is not None:
                gain = float(np.mean(np.subtract(row[name], base[name])))
                by_seed.setdefault(row["seed"], []).append(gain)
        most = max(map(len, by_seed.values()), default=0)
        gains = [float(np.mean(sizes)) for sizes in by_seed.values() if len(sizes) == most]
        if len(gains) > 1 and (prompts, states) != ("random", "uniform"):
            mean, error = float(np.mean(gains)), float(statistics.sem(gains))
            half = float(statistics.t.ppf(0.975, len(gains) - 1)) * error
            yield {
                "plan": plan,
                "prompts": prompts,
                "states": states,
                "measure": name,
                "seeds": len(gains),
                "gain_db": mean,
                "ci95_db": [mean - half, mean + half],
            }


def reach_of(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """What each way of choosing reaches, on average over sizes and seeds."""
    for prompts, states in itertools.product(PROMPTS, STRATEGIES):
        ours = [row for row in rows if (row["prompts"], row["states"]) == (prompts, states)]
        if ours:
            means = {name: float(np.mean([row[name] for row in ours])) for name in _REACH}
            yield {"prompts": prompts, "states": states, **means}


def _base_of(row: Mapping[str, Any]) -> Cell:
    return Cell(
        prompts="random", states="uniform", size=row["size"], seed=row["seed"], plan=row["plan"]
    )


def show(effects: Sequence[Mapping[str, Any]]) -> None:
    """Print the table of effects."""
    rows = [
        (
            effect["plan"],
            effect["prompts"],
            effect["states"],
            effect["measure"],
            f"{effect['gain_db']:+.2f} dB",
            f"{effect['ci95_db'][0]:+.2f} … {effect['ci95_db'][1]:+.2f}",
            str(effect["seeds"]),
        )
        for effect in effects
    ]
    print(table(("plan", "prompts", "states", "measure", "gain", "95 % interval", "seeds"), rows))


def show_reach(reach: Sequence[Mapping[str, Any]]) -> None:
    """Print the table of what is reached."""
    cells = [
        (row["prompts"], row["states"], *(f"{100 * row[name]:.1f} %" for name in _REACH))
        for row in reach
    ]
    print(table(("prompts", "states", *_REACH.values()), cells))


if __name__ == "__main__":
    main()
