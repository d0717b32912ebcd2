"""What the choice of prompts, of states and of their number does to a quantized model.

Gains are paired over prompts and noise, averaged over sizes, and told by the seeds: all that one
seed calibrates shares its prompts, so that seeds alone say how sure a mean is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats as statistics

from benchmarks.calibration_cells import CONTROL, PLANS, PROMPTS, STRATEGIES, Cell, key_of
from ptq.report_markdown import table

Rows = Sequence[Mapping[str, Any]]
_AWARE = "activation-aware"
_MEASURES = {"prediction_sqnr_db": "prediction", "latent_sqnr_db": "latents"}
_REACH = {
    "range_mean": "of the peaks met",
    "range_least": "of the worst layer's",
    "outlier_channels": "of the outlier channels",
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to calibrate, of every size or of one."""

    prompts: str
    states: str
    size: int | None = None

    def __str__(self) -> str:
        size = "" if self.size is None else f", {self.size}"
        return f"{self.prompts} prompts, {self.states} states{size}"


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two ways to calibrate that are compared."""

    ours: Arm
    base: Arm


def contrasts_of(rows: Rows) -> Iterator[Contrast]:
    """Every choice against none, the whole against its parts, and large sets against small.

    Args:
        rows: What was measured; says which sizes there are.
    """
    none, whole = Arm(prompts="random", states="uniform"), Arm(prompts="covering", states=_AWARE)
    for prompts in PROMPTS:
        for states in STRATEGIES:
            arm = Arm(prompts=prompts, states=states)
            if arm != none:
                yield Contrast(ours=arm, base=none)
    yield Contrast(ours=whole, base=Arm(prompts="random", states=_AWARE))
    for states in STRATEGIES:
        if states != _AWARE:
            yield Contrast(ours=whole, base=Arm(prompts="covering", states=states))
    sizes = sorted({row["size"] for row in rows})
    for arm in (none, whole) if len(sizes) > 1 else ():
        most, least = (Arm(prompts=arm.prompts, states=arm.states, size=sizes[i]) for i in (-1, 0))
        yield Contrast(ours=most, base=least)
    for size in sizes:
        ours, base = (Arm(prompts=a.prompts, states=a.states, size=size) for a in (whole, none))
        yield Contrast(ours=ours, base=base)


def effects_of(rows: Rows) -> Iterator[dict[str, Any]]:
    """Gains with intervals, of all plans but the control.

    Args:
        rows: What was measured; a seed that lacks a size is left out of what averages over sizes.
    """
    measures = [name for name in rows[0] if name.endswith("_db")] if rows else []
    for plan in PLANS:
        for contrast in contrasts_of(rows) if plan != CONTROL else ():
            for name in measures:
                gains = gains_of(rows, contrast, plan, name)
                if len(gains) > 1:
                    yield {
                        **{"plan": plan, "ours": str(contrast.ours), "base": str(contrast.base)},
                        **{"measure": name, "seeds": len(gains), **_interval(gains)},
                    }


def gains_of(rows: Rows, contrast: Contrast, plan: str, measure: str) -> list[float]:
    """The gain of every seed that has all sizes.

    Args:
        rows: What was measured.
        contrast: What is compared.
        plan: Of which plan.
        measure: A key of the rows that holds a figure for each pair.
    """
    found = {key_of(row): row for row in rows}
    by_seed: dict[int, list[float]] = {}
    for row in rows:
        base = found.get(_partner(row, contrast))
        if row["plan"] == plan and _is_of(row, contrast.ours) and base is not None:
            gain = float(np.mean(np.subtract(row[measure], base[measure])))
            by_seed.setdefault(row["seed"], []).append(gain)
    most = max(map(len, by_seed.values()), default=0)
    return [float(np.mean(sizes)) for sizes in by_seed.values() if len(sizes) == most]


def _is_of(row: Mapping[str, Any], arm: Arm) -> bool:
    alike = (row["prompts"], row["states"]) == (arm.prompts, arm.states)
    return alike and arm.size in (None, row["size"])


def _partner(row: Mapping[str, Any], contrast: Contrast) -> Cell:
    base = contrast.base
    return Cell(
        prompts=base.prompts,
        states=base.states,
        size=row["size"] if base.size is None else base.size,
        seed=row["seed"],
        plan=row["plan"],
    )


def _interval(gains: Sequence[float]) -> dict[str, Any]:
    mean, error = float(np.mean(gains)), float(statistics.sem(gains))
    half = float(statistics.t.ppf(0.975, len(gains) - 1)) * error
    return {"gain_db": mean, "ci95_db": [mean - half, mean + half]}


def control_is_alike(rows: Rows) -> bool | None:
    """Whether the control came out the same number for number; ``None`` before it was measured."""
    found = [row for row in rows if row["plan"] == CONTROL]
    measures = [name for name in rows[0] if name.endswith("_db")] if rows else []
    return all(row[m] == found[0][m] for row in found for m in measures) if found else None


def reach_of(rows: Rows) -> Iterator[dict[str, Any]]:
    """What each way of choosing reaches, on average over seeds, and by size.

    Args:
        rows: What was measured.
    """
    for size in sorted({row["size"] for row in rows}):
        for prompts in PROMPTS:
            for states in STRATEGIES:
                arm = Arm(prompts=prompts, states=states, size=size)
                ours = [row for row in rows if _is_of(row, arm)]
                if ours:
                    means = {name: float(np.mean([row[name] for row in ours])) for name in _REACH}
                    yield {"size": size, "prompts": prompts, "states": states, **means}


def show_effects(effects: Rows) -> None:
    """Print the table of effects: a row for what is compared, a column for a plan's measure.

    Bold are those whose interval misses zero.
    """
    columns = list(dict.fromkeys((e["plan"], e["measure"]) for e in effects))
    found: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for effect in effects:
        # Added to zero, a rounded -0 loses its sign.
        mean, low, high = (round(v, 1) + 0.0 for v in (effect["gain_db"], *effect["ci95_db"]))
        cell = f"{mean:+.1f} ({low:+.1f} … {high:+.1f})"
        low, high = effect["ci95_db"]
        cell = cell if low <= 0 <= high else f"**{cell}**"
        row = found.setdefault((effect["ours"], effect["base"]), {})
        row[effect["plan"], effect["measure"]] = cell
    header = ("calibrated on", "against", *(f"{plan}: {_MEASURES[m]}" for plan, m in columns))
    rows = [(*pair, *(row.get(column, "") for column in columns)) for pair, row in found.items()]
    print(f"Gains in dB, of {', '.join(sorted({str(e['seeds']) for e in effects}))} seeds")
    print(table(header, rows))


def show_reach(reach: Rows) -> None:
    """Print the table of what is reached."""
    cells = [
        (
            str(row["size"]),
            row["prompts"],
            row["states"],
            *(f"{100 * row[name]:.1f} %" for name in _REACH),
        )
        for row in reach
    ]
    print(table(("states", "prompts", "chosen", *_REACH.values()), cells))
