"""Do the layers' errors add up, as every allocation takes for granted?

``python -m benchmarks.additivity [--plans 8]`` quantizes with plans of the Pareto front that the
shipped sensitivities give, and measures each as a whole: the guided prediction on states that
nothing was fitted to.
"""

import argparse

from assets.recipe.gallery import default_calibration
from benchmarks.allocations import allocator_of, sensitivities_of
from benchmarks.clips import SETTINGS
from benchmarks.records import write_results
from ptq.additivity import Additivity, AdditivityCheck
from ptq.adms.base import AudioDiffusionModel
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.allocate import Allocation
from ptq.calibration.purposes import HeldOut, Purpose
from ptq.calibration.replay import Replay
from ptq.report_markdown import megabytes, table


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=8)
    arguments = parser.parse_args()
    adm = load_adm(find_adm("mini-audioldm"))
    front = allocator_of(adm).front(arguments.plans)
    found = checked(adm, front)
    path = write_results(
        "additivity",
        {
            "model": adm.source_hash,
            "measure": sensitivities_of(adm).measure,
            "bytes": [plan.size_bytes for plan in front],
            "predicted": found.predicted,
            "measured": found.measured,
            "correlation": found.correlation,
            "rank_correlation": found.rank_correlation,
        },
    )
    rows = zip(front, found.predicted, found.measured, strict=True)
    cells = [(megabytes(plan.size_bytes), f"{a:.4f}", f"{b:.5f}") for plan, a, b in rows]
    print(table(("layers", "sum of the layers' errors", "error of the prediction"), cells))
    print(f"r = {found.correlation}, ranks {found.rank_correlation}")
    print(path)


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
