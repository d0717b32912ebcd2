"""Do the layers' errors add up, as every allocation takes for granted?

``python -m benchmarks.additivity [--plans 5]`` quantizes with plans of the Pareto front that the
shipped sensitivities give, and with as many of one size, the best and some for which the errors of
more and more layers had changed places. Sums that know nothing of single layers would put the front
in order all the same, but not those. Each is measured as a whole: the guided prediction on states
that nothing was fitted to.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from assets.recipe.gallery import default_calibration
from benchmarks.allocations import allocator_of, sensitivities_of
from benchmarks.clips import SETTINGS
from benchmarks.records import write_results
from ptq.additivity import Additivity, AdditivityCheck
from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.allocate import Allocation, Allocator
from ptq.calibration.purposes import HeldOut, Purpose
from ptq.calibration.replay import Replay
from ptq.cli_sensitivity import additivity_figures, additivity_text
from ptq.plan import QuantPlan
from ptq.report_markdown import megabytes, table
from ptq.scheme import LayerScheme
from ptq.sensitivities import Sensitivities

Errors = Mapping[str, Mapping[str, float]]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=5)
    count = parser.parse_args().plans
    adm = load_adm(find_adm("mini-audioldm"))
    sets = {"front": allocator_of(adm).front(count), "one size": of_one_size(adm, count)}
    found = {name: checked(adm, plans) for name, plans in sets.items()}
    values: dict[str, Any] = {
        "model": adm.source_hash,
        "measure": sensitivities_of(adm).measure,
        "sensitivities": sensitivities_of(adm).sha256,
    }
    for name, plans in sets.items():
        figures = additivity_figures(found[name], values["measure"])
        values[name] = {"bytes": [plan.size_bytes for plan in plans], **figures}
    path = write_results("additivity", values)
    cells = [
        (name, megabytes(plan.size_bytes), f"{a:.5f}", f"{b:.5f}")
        for name, plans in sets.items()
        for plan, a, b in zip(plans, found[name].predicted, found[name].measured, strict=True)
    ]
    print(table(("plans", "layers", "sum of the layers' errors", "error of the prediction"), cells))
    for name, one in found.items():
        print(f"{name}: {additivity_text(one, values['measure'])}")
    print(path)


def of_one_size(adm: AudioDiffusionModel, count: int) -> tuple[Allocation, ...]:
    """The best plan half-way between the smallest and the largest, and worse ones of its size."""
    allocator, known = allocator_of(adm), sensitivities_of(adm)
    size = sum(allocator.limits()) // 2
    plans = [allocator(size)]
    for done in range(1, count):
        mixed = replace(known, errors=exchanged(known.errors, done / (count - 1), seed=done))
        other = Allocator(allocator.base, layers_of(adm), mixed)(size)
        plans.append(replace(other, error=sum_of(other.plan, known)))
    return tuple(plans)


def exchanged(errors: Errors, share: float, seed: int) -> dict[str, Mapping[str, float]]:
    """Let a share of the layers have one another's errors."""
    rng = np.random.default_rng(seed)
    names = list(errors)
    some = rng.permutation(len(names))[: round(share * len(names))]
    found = dict(errors)
    for here, there in zip(some, np.roll(some, 1), strict=True):
        found[names[here]] = errors[names[there]]
    return found


def sum_of(plan: QuantPlan, known: Sensitivities) -> float:
    """What a table says of a plan of its schemes."""
    chosen = {spec.name: _told_apart(spec.scheme) for spec in plan.layers}
    return sum(
        row[words]
        for name, row in known.errors.items()
        for words, scheme in known.schemes(name).items()
        if _told_apart(scheme) == chosen[name]
    )


def _told_apart(scheme: LayerScheme) -> tuple[object, ...]:
    """What differs between the schemes of a table; a plan knows the length of groups as well."""
    return scheme.weight_bits, scheme.activation


def checked(adm: AudioDiffusionModel, front: tuple[Allocation, ...]) -> Additivity:
    """The check, with the calibration that ships."""
    calibration = default_calibration(adm, SETTINGS)
    known = calibration.manifest.prompts
    held_out = HeldOut(adm=adm, sampling=SETTINGS, apart_from=known)
    check = AdditivityCheck(
        replay=Replay(adm=adm, states=held_out(Purpose.VALIDATION)),
        fitting=Replay(adm=adm, states=calibration.sets[Purpose.RECONSTRUCTION]),
        stats=calibration.stats,
    )
    return check(front)


if __name__ == "__main__":
    main()
