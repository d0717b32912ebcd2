"""How many random prompts it takes to cover what the chosen ones cover.

``python -m benchmarks.prompts [--adm mini-audioldm] [--draws 20]``
"""

import argparse
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.records import write_results
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.adms.text import embed_prompts
from ptq.calibration.prompt_choice import PromptChoice
from ptq.prompts.space import PromptCoverage, PromptSpace
from ptq.prompts.suites import Suite, draw_suite
from ptq.report_markdown import table

_CHOSEN = (16, 32, 64, 128)
_RANDOM = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_POOL, _HELD_OUT = 4096, 1000
_POOL_SEED = 500
# Of these more is better, and of the radius less.
_MEASURES = {"near": 1.0, "cells": 1.0, "radius": -1.0}


def main() -> None:
    """Choose, draw, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adm", default="mini-audioldm")
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    adm = load_adm(find_adm(arguments.adm))
    choice = PromptChoice(adm, seed=1)
    # The choice never saw the prompts that it is measured by.
    held_out = tuple(p.text for p in draw_suite(Suite.EXPLORATION, _HELD_OUT, _POOL_SEED + 1))
    space = PromptSpace(reference=held_out, embed=lambda texts: embed_prompts(adm, texts))
    chosen = {n: space.coverage(choice.audit((), n).prompts) for n in _CHOSEN}
    pool = [p.text for p in draw_suite(Suite.CALIBRATION, _POOL, _POOL_SEED)]
    drawn = {n: draws_of(space, pool, n, arguments.draws) for n in _RANDOM}
    result: dict[str, Any] = {
        "adm": adm.id,
        "model": adm.source_hash,
        "draws": arguments.draws,
        "near_cosine": space.near_cosine,
        "chosen": {str(n): asdict(found) for n, found in chosen.items()},
        "random": {str(n): summary(found) for n, found in drawn.items()},
        "random_needed": {
            str(n): {name: needed(drawn, getattr(found, name), name) for name in _MEASURES}
            for n, found in chosen.items()
        },
    }
    path = write_results("prompts", result)
    show(result)
    print(path)


def draws_of(space: PromptSpace, pool: list[str], n: int, draws: int) -> list[PromptCoverage]:
    """Coverage of random sets of one size."""
    rng = np.random.default_rng([n, draws])
    return [
        space.coverage([pool[i] for i in rng.choice(len(pool), size=n, replace=False)])
        for _ in range(draws)
    ]


def summary(found: list[PromptCoverage]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of each measure."""
    rows = {name: [getattr(c, name) for c in found] for name in _MEASURES}
    return {
        name: {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}
        for name, values in rows.items()
    }


def needed(drawn: dict[int, list[PromptCoverage]], goal: float, name: str) -> int | None:
    """The smallest size whose random sets reach a goal on average; ``None`` if none does."""
    sign = _MEASURES[name]
    means = {n: np.mean([getattr(c, name) for c in found]) for n, found in drawn.items()}
    return min((n for n, mean in means.items() if sign * mean >= sign * goal), default=None)


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    rows = []
    for n, found in result["chosen"].items():
        random, more = result["random"][n], result["random_needed"][n]
        cells = [str(n)]
        for name in _MEASURES:
            mean, sd = random[name]["mean"], random[name]["sd"]
            size = more[name] or f"more than {max(_RANDOM)}"
            cells += [f"{found[name]:.3f}", f"{mean:.3f} ± {sd:.3f}", str(size)]
        rows.append(tuple(cells))
    header = ["prompts"]
    for name in _MEASURES:
        header += [name, "random", "random needed"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
