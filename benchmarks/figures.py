"""Draws the figure of every table that has been measured: ``python -m benchmarks.figures``.

Each lies beside the JSON that it shows, in ``benchmarks/results/``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from types import MappingProxyType
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.records import RESULTS
from ptq.metrics.inference import MARGIN_PCT

Table = Mapping[str, Any]
_BLUE, _ORANGE, _GREY = "#1f6fb4", "#d9730d", "#8a8a8a"
_WIDE, _TALL, _ROW = 8.0, 1.4, 0.32
_DPI = 110
_LABEL = 40  # characters of a line


def forest(axes: Axes, rows: Sequence[tuple[str, float, Sequence[float]]], colour: str) -> None:
    """Draw estimates with their intervals, the first at the top."""
    places = list(range(len(rows)))
    middles = [middle for _, middle, _ in rows]
    reach = [
        [middle - low for _, middle, (low, _) in rows],
        [high - middle for _, middle, (_, high) in rows],
    ]
    axes.errorbar(middles, places, xerr=reach, fmt="o", color=colour, capsize=3)
    axes.set_yticks(places, [label for label, *_ in rows])
    axes.invert_yaxis()
    axes.grid(visible=True, axis="x", alpha=0.3)


def _canvas(n_rows: int, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(_WIDE, _TALL + _ROW * n_rows), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _increases(rows: Sequence[Table], label: Callable[[Table], str]) -> Figure:
    found = [
        (label(row), row["increase_pct"], row["ci95_pct"]) for row in rows if row.get("ci95_pct")
    ]
    figure, (axes,) = _canvas(len(found))
    forest(axes, found, _BLUE)
    axes.axvline(0.0, color=_GREY, linewidth=1)
    axes.axvline(MARGIN_PCT, color=_ORANGE, linestyle="--", linewidth=1)
    axis = "rise of the Fréchet distance, % (95 % interval; dashed: the margin)"
    axes.set_xlabel(axis, fontsize="small")
    return figure


def _plans(table: Table) -> Figure:
    return _increases(
        table["presets"], lambda row: f"{row['name']}, {row['size_bytes'] / 1e6:.2f} MB"
    )


def _lowest(table: Table) -> Figure:
    found = [row for row in table["rows"] if "stored_bits" in row]
    return _increases(found, _lowest_label)


def _lowest_label(row: Mapping[str, Any]) -> str:
    held = "" if row.get("holds") else ", does not hold"
    return f"{row['method']}, {row['stored_bits']:.2f} bits stored{held}"


def _toolkits(table: Table) -> Figure:
    return _increases(
        table["rows"], lambda row: f"{row['name']}, {row['denoiser_bytes'] / 1e6:.2f} MB"
    )


def _calibration(table: Table) -> Figure:
    effects = [e for e in table["effects"] if e["measure"] == "latent_sqnr_db"]
    plans = list(dict.fromkeys(effect["plan"] for effect in effects))
    rows = [[e for e in effects if e["plan"] == plan] for plan in plans]
    figure, columns = _canvas(2 * len(rows[0]), len(plans))
    for axes, plan, found in zip(columns, plans, rows, strict=True):
        labels = [f"{e['ours']}\nagainst {e['base']}" for e in found]
        gains = [(e["gain_db"], e["ci95_db"]) for e in found]
        forest(axes, [(a, *b) for a, b in zip(labels, gains, strict=True)], _BLUE)
        axes.axvline(0.0, color=_GREY, linewidth=1)
        axes.set_title(plan, fontsize="medium")
        axes.set_xlabel("gain of latent SQNR, dB")
    columns[0].tick_params("y", labelsize="x-small")
    for axes in columns[1:]:
        axes.set_yticklabels([])
    return figure


def _robustness(table: Table) -> Figure:
    names = list(dict.fromkeys(row["preset"] for row in table["rows"]))
    figure, (axes,) = _canvas(len(table["rows"]) // max(len(names), 1))
    for name, colour in zip(names, (_BLUE, _ORANGE), strict=False):
        rows = [(r["condition"], r["latent_sqnr_db"]) for r in table["rows"] if r["preset"] == name]
        known = [(c, s["median"], (s["low"], s["high"])) for c, s in rows if s is not None]
        forest(axes, known, colour)
        axes.plot([], [], "o", color=colour, label=name)
    axes.legend(loc="best")
    axes.set_xlabel("latent SQNR, dB (median and quartiles of pairs)")
    # Every preset turned the axis over.
    axes.set_ylim(max(axes.get_ylim()), min(axes.get_ylim()))
    return figure


def _cost(table: Table) -> Figure:
    rows = table["rows"]
    figure, (axes,) = _canvas(2 * len(rows))
    titles = [fill(row["title"], _LABEL) for row in rows]
    stages = list(dict.fromkeys(stage for row in rows for stage in row["seconds"]))
    left = [0.0] * len(rows)
    for stage in stages:
        widths = [row["seconds"].get(stage, 0.0) for row in rows]
        axes.barh(titles, widths, left=left, label=stage)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=len(stages), fontsize="x-small")
    axes.set_xlabel("seconds, on the machine that ran it")
    return figure


def _additivity(table: Table) -> Figure:
    figure, (axes,) = _canvas(8)
    for name, colour, line in (("front", _BLUE, "o-"), ("one size", _ORANGE, "o")):
        found = table[name]
        axes.loglog(found["predicted"], found["measured"], line, color=colour, label=name)
    axes.legend(loc="best")
    axes.set_xlabel("sum of the layers' errors")
    axes.set_ylabel("error of the whole prediction")
    axes.grid(visible=True, which="both", alpha=0.3)
    return figure


def _prompts(table: Table) -> Figure:
    measures = {"near": "reference prompts closely served", "cells": "pairs filled"}
    figure, columns = _canvas(8, len(measures))
    for axes, (name, title) in zip(columns, measures.items(), strict=True):
        drawn = {int(n): found[name] for n, found in table["random"].items()}
        axes.errorbar(
            list(drawn),
            [found["mean"] for found in drawn.values()],
            yerr=[found["sd"] for found in drawn.values()],
            color=_GREY,
            label="random",
        )
        chosen = {int(n): found[name] for n, found in table["chosen"].items()}
        axes.plot(list(chosen), list(chosen.values()), "o-", color=_BLUE, label="chosen")
        axes.set_xscale("log", base=2)
        axes.set_xlabel("prompts")
        axes.set_title(title, fontsize="medium")
        axes.legend(loc="best")
    return figure


FIGURES: Mapping[str, Callable[[Table], Figure]] = MappingProxyType(
    {
        **{"presets": _plans, "claim": _plans, "lowest": _lowest, "toolkits": _toolkits},
        **{"calibration": _calibration, "robustness": _robustness, "cost": _cost},
        **{"additivity": _additivity, "prompts": _prompts},
    }
)


# What a run that has only begun has none of.
_LATE = MappingProxyType({"calibration": "effects"})


def draw(name: str, folder: Path = RESULTS) -> Path | None:
    """Draw one table's figure beside it; ``None`` where it has not been measured."""
    file = folder / f"{name}.json"
    if not file.exists():
        return None
    path = file.with_suffix(".png")
    table = json.loads(file.read_text(encoding="utf-8"))
    if not table.get(_LATE.get(name, ""), True):
        return None
    figure = FIGURES[name](table)
    figure.savefig(path, dpi=_DPI)
    return path


def main() -> None:
    """Draw what can be drawn."""
    for name in FIGURES:
        path = draw(name)
        print(f"{name}: {'not measured yet' if path is None else path}")


if __name__ == "__main__":
    main()
