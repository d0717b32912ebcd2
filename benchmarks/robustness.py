"""Does a quantized model hold where it was not calibrated? ``python -m benchmarks.robustness``.

Unusual prompts slice by slice, other guidance and step counts, and longer clips: each against full
precision with the same prompt, noise and settings, each beside the calibrated condition, and each
by how pairs drift apart from the clip's beginning to its end.
Finished conditions are kept: an interrupted run resumes.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats as statistics

from assets.recipe.gallery import default_calibration, plan_of, quantized_copy
from benchmarks.clips import SETTINGS, ClipBank
from benchmarks.pair_figures import DRIFTS, pair_figures, summary
from benchmarks.records import earlier, write_results
from ptq.adms.base import AudioDiffusionModel
from ptq.adms.loading import load_adm
from ptq.adms.placed import device_name
from ptq.adms.registry import find_adm, lexicon_of
from ptq.adms.sampling import SamplingSettings
from ptq.adms.tiling import TiledModel
from ptq.calibration.calibrator import Calibration
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.metrics.verdict import MAX_DIVERGENCE_INDEX
from ptq.presets import preset
from ptq.prompts.slices import each_slice
from ptq.prompts.suites import Suite, draw_suite
from ptq.report_markdown import table

PRESETS = ("w8a8", "ptq4adm")
CALIBRATED = "as calibrated"
_SEED = 300
_LONG_PROMPTS = 8
_TILED_S = 30.72
# The verdict's limit of a median, and as far as another seed.
_FAR_APART = (MAX_DIVERGENCE_INDEX, 1.0)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What is asked of the models."""

    name: str
    prompts: tuple[str, ...]
    settings: SamplingSettings = SETTINGS

    @property
    def is_tiled(self) -> bool:
        """Whether clips are longer than the denoiser takes at once."""
        return self.settings.seconds > 2 * SETTINGS.seconds


def conditions(count: int, adm_id: str) -> Iterator[Condition]:
    """The calibrated condition, and every way of leaving it."""
    lexicon = lexicon_of(adm_id)
    usual = tuple(p.text for p in draw_suite(Suite.FINAL, count, _SEED, lexicon))
    yield Condition(name=CALIBRATED, prompts=usual)
    for kind, prompts in each_slice(count, _SEED, lexicon):
        yield Condition(name=kind.value, prompts=tuple(prompt.text for prompt in prompts))
    for guidance in (1.0, 5.0, 7.5):
        settings = replace(SETTINGS, guidance=guidance)
        yield Condition(name=f"guidance {guidance:g}", prompts=usual, settings=settings)
    for steps in (10, 50):
        settings = replace(SETTINGS, steps=steps)
        yield Condition(name=f"{steps} steps", prompts=usual, settings=settings)
    long = tuple(p.text for p in draw_suite(Suite.LONG_FORM, _LONG_PROMPTS, _SEED, lexicon))
    for seconds in (2 * SETTINGS.seconds, _TILED_S):
        settings = replace(SETTINGS, seconds=seconds)
        yield Condition(name=f"{seconds:.2f} s", prompts=long, settings=settings)


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--adm", default="mini-audioldm")
    arguments = parser.parse_args()
    adm, ear = load_adm(find_adm(arguments.adm)), find_ear()
    if not isinstance(ear, Ear):
        raise SystemExit(f"Divergence is heard with the shipped ear: {ear}")
    bench = RobustnessBench(adm=adm, ear=ear)
    plans = {name: plan_of(adm, preset(name)).sha256 for name in PRESETS}
    what = {
        **{"adm": adm.id, "model": adm.source_hash, "ear": ear.sha256, "plans": plans},
        **{"prompts": arguments.prompts, "seed": _SEED},
        "calibration": bench.calibration.manifest.sha256,
        **{"settings": asdict(SETTINGS), "device": device_name()},
    }
    rows = list(earlier("robustness", what).get("rows", []))
    for condition in conditions(arguments.prompts, adm.id):
        asked = {"condition": condition.name, "prompts": list(condition.prompts)}
        if not any(asked.items() <= row.items() for row in rows):
            rows = [row for row in rows if row["condition"] != condition.name]
            rows += bench.rows(condition)
            write_results("robustness", {**what, "rows": rows})
    path = write_results("robustness", {**what, "rows": rows})
    show(rows)
    print(path)


@dataclass(frozen=True, kw_only=True)
class RobustnessBench:
    """What every condition is measured with."""

    adm: AudioDiffusionModel
    ear: Ear

    @cached_property
    def calibration(self) -> Calibration:
        """One calibration, at the settings that conditions leave."""
        return default_calibration(self.adm, SETTINGS)

    @cached_property
    def quantized(self) -> dict[str, AudioDiffusionModel]:
        """The models by preset."""
        return {name: quantized_copy(self.adm, preset(name), self.calibration) for name in PRESETS}

    def rows(self, condition: Condition) -> list[dict[str, Any]]:
        """Figures of every preset under one condition."""
        full = self._bank("fp", self.adm, condition, _SEED)
        second = self._bank("fp", self.adm, condition, _SEED + 1)
        rows = []
        for name, model in self.quantized.items():
            pairs = pair_figures(self.ear, full, second, self._bank(name, model, condition, _SEED))
            summaries = {key: summary(values) for key, values in pairs.items()}
            row = {"condition": condition.name, "preset": name, "n": len(full.prompts)}
            rows.append({**row, "prompts": list(condition.prompts), **summaries, "pairs": pairs})
        return rows

    def _bank(
        self, name: str, adm: AudioDiffusionModel, condition: Condition, seed: int
    ) -> ClipBank:
        digests = (plan_of(self.adm, preset(name)).sha256, self.calibration.manifest.sha256)
        plan = "" if name == "fp" else "".join(f"-{digest[:8]}" for digest in digests)
        tiled = TiledModel(adm, SETTINGS.seconds) if condition.is_tiled else adm
        return ClipBank(
            name=f"robust-{name}{plan}",
            adm=tiled,
            prompts=condition.prompts,
            seed=seed,
            settings=condition.settings,
        )


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what pairs differ by, beside the calibrated condition, and how long clips drift."""
    found = {(row["condition"], row["preset"]): row for row in rows}
    names = list(dict.fromkeys(row["condition"] for row in rows))
    apart = [
        (
            name,
            *(
                cell
                for row, base in ((found[name, p], found[CALIBRATED, p]) for p in PRESETS)
                for cell in (
                    _median(row, "latent_sqnr_db", 1),
                    _change(row, base),
                    _median(row, "divergence_index", 3),
                )
            ),
        )
        for name in names
    ]
    columns = ("latent SQNR, dB", "change of the mean, 95 % interval", "divergence index")
    header = [f"{preset}: {column}" for preset in PRESETS for column in columns]
    print(table(("condition", *header), apart))
    drifting = [
        (name, preset, *(_median(found[name, preset], key, 2) for key in DRIFTS))
        for name in (CALIBRATED, *(name for name in names if name.endswith(" s")))
        for preset in PRESETS
    ]
    print(table(("condition", "preset", *DRIFTS.values()), drifting))
    indices = [i for row in rows for i in row["pairs"]["divergence_index"] if i is not None]
    for limit in _FAR_APART:
        far = sum(index > limit for index in indices)
        print(f"Pairs with a divergence index above {limit:g}: {far} of {len(indices)}")


def _median(row: Mapping[str, Any], key: str, digits: int) -> str:
    found = row[key]
    # No minus before a zero.
    return "n/a" if found is None else f"{round(found['median'], digits) + 0.0:.{digits}f}"


def _change(row: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """By how much the mean latent SQNR differs from the calibrated condition's.

    Pair by pair where the prompts, and with them the noise, are the same.
    """
    here, there = (np.array(r["pairs"]["latent_sqnr_db"], dtype=float) for r in (row, base))
    if row is base or not len(here):
        return ""
    if row["prompts"] == base["prompts"]:
        found = statistics.ttest_rel(here, there, nan_policy="omit")
    else:
        found = statistics.ttest_ind(here, there, equal_var=False, nan_policy="omit")
    low, high = found.confidence_interval(0.95)
    return f"{np.nanmean(here) - np.nanmean(there):+.1f} ({low:+.1f} … {high:+.1f})"


if __name__ == "__main__":
    main()
