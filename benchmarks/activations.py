"""Which 8-bit activations does a preset bear? ``python -m benchmarks.activations [--pairs 32]``.

The weights of one preset, rounded once, with activations in floating point, ranged statically in
every way, and ranged by each token or sample itself. Static ranges rest on the default calibration,
on one of its size whose prompts and states are not chosen, and on a larger and a smaller one. Final
latents are compared with full precision over pairs of suite A, and rows, pair by pair, with the
first and with the same ranges on the default calibration: their intervals speak of other prompts,
not of other calibrations. Finished rows are kept.
"""

import argparse
import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import stats as statistics

from assets.recipe.gallery import plan_of
from benchmarks.clips import SETTINGS
from benchmarks.latents import sampled_latents
from benchmarks.records import earlier, write_results
from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.loading import load_adm
from ptq.adms.placed import accelerator, device_name, placed
from ptq.adms.registry import find_adm
from ptq.adms.sampling import NoiseTape
from ptq.affine import sqnr_db
from ptq.calibration.calibrator import Calibration, Calibrator
from ptq.calibration.purposes import Purpose
from ptq.calibration.replay import Replay
from ptq.calibration.rounding import rounded_weights
from ptq.config import QuantConfig, QuantRule
from ptq.layer_spec import LayerKind
from ptq.presets import preset
from ptq.quantize import quantize_
from ptq.report_markdown import number, table
from ptq.rule_text import parse_scheme
from ptq.scheme import ActivationScheme
from ptq.study_config import CalibrationSettings
from ptq.weights import QuantizedWeight

STATIC = ("a8", "a8 t10", "a8 mse", "a8 mse t10", "a8 p99.9")
KEPT, DYNAMIC = "floating point", "a8 dynamic"
# Words for linear layers, and for convolutions.
MIXED = {
    "a8, convolutions a8 dynamic": ("a8", DYNAMIC),
    "a8 dynamic, convolutions a8": (DYNAMIC, "a8"),
}
CALIBRATIONS = {
    "default": CalibrationSettings(),
    # One prompt more, for the chosen ones come with the null prompt.
    "drawn": CalibrationSettings(strategy="uniform", prompts=17, covering=False),
    "large": CalibrationSettings(prompts=32, states=256),
    "small": CalibrationSettings(strategy="uniform", prompts=4, states=40, covering=False),
}
_SEED = 500


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--preset", default="ptq4adm")
    arguments = parser.parse_args()
    adm = load_adm(find_adm("mini-audioldm"))
    bench = ActivationBench(adm=adm, pairs=arguments.pairs, config=preset(arguments.preset))
    plan = plan_of(adm, bench.config).sha256
    what = {
        **{"adm": adm.id, "model": adm.source_hash, "plan": plan, "n": arguments.pairs},
        **{"settings": asdict(SETTINGS), "seed": _SEED, "device": device_name()},
        "calibrations": {name: asdict(wanted) for name, wanted in CALIBRATIONS.items()},
    }
    rows = list(earlier("activations", what).get("rows", []))
    known = {(row["activations"], row["calibration"]) for row in rows}
    for activations, calibration in cases():
        if (activations, calibration) not in known:
            rows.append(bench.row(activations, calibration))
            write_results("activations", {**what, "rows": rows})
    show(rows)


def cases() -> list[tuple[str, str]]:
    """Activations and the calibration that their ranges rest on."""
    free = [(KEPT, "none"), (DYNAMIC, "none")]
    ranged = [(words, name) for name in CALIBRATIONS for words in (*STATIC, *MIXED)]
    return free + ranged


@dataclass(frozen=True, kw_only=True)
class ActivationBench:
    """What every row is measured with."""

    adm: AudioDiffusionModel
    pairs: int
    config: QuantConfig

    def row(self, activations: str, calibration: str) -> dict[str, Any]:
        """Latent SQNR pair by pair, its median and its tenth percentile."""
        plan = plan_of(self.adm, self.with_activations(activations))
        stats = self._calibrations[calibration].stats if calibration in CALIBRATIONS else {}
        other = copy.deepcopy(self.adm)
        quantize_(other.parts(), plan, stats, weights=self._codes)
        pairs = zip(self._full, self._sampled(other), strict=True)
        found = [sqnr_db(a, b) for a, b in pairs]
        tenth, median = (float(v) for v in np.percentile(found, [10, 50]))
        row = {"activations": activations, "calibration": calibration}
        print(row, median, tenth, flush=True)
        each = [round(value, 3) for value in found]
        return {**row, "latent_sqnr_db": median, "worst_tenth_db": tenth, "pairs_db": each}

    def with_activations(self, words: str) -> QuantConfig:
        """The preset, layer by layer, with other activations where it quantizes them."""
        layers = layers_of(self.adm)
        schemes = {spec.name: spec.scheme for spec in plan_of(self.adm, self.config).layers}
        rules = []
        for info in layers:
            scheme = schemes[info.name]
            if scheme.activation is not None:
                scheme = replace(scheme, activation=_activation(words, info.kind))
            rules.append(QuantRule(pattern=info.name, scheme=scheme))
        return QuantConfig(name=words, rules=tuple(rules))

    @cached_property
    def _calibrations(self) -> Mapping[str, Calibration]:
        plan = plan_of(self.adm, self.with_activations("a8 t10"))
        there = placed(self.adm, accelerator())
        return {
            name: Calibrator(adm=there, sampling=SETTINGS, wanted=wanted)(plan)
            for name, wanted in CALIBRATIONS.items()
        }

    @cached_property
    def _codes(self) -> Mapping[str, QuantizedWeight]:
        """Weights rounded once: rows differ by their activations alone."""
        states = self._calibrations["default"].sets[Purpose.RECONSTRUCTION]
        plan = plan_of(self.adm, self.with_activations(KEPT))
        return rounded_weights(Replay(adm=self.adm, states=states), plan)

    @cached_property
    def _full(self) -> torch.Tensor:
        return self._sampled(self.adm)

    def _sampled(self, adm: AudioDiffusionModel) -> torch.Tensor:
        there = placed(adm, accelerator())
        return sampled_latents(there, SETTINGS, self.pairs, _SEED, noise=NoiseTape(_SEED))


def _activation(words: str, kind: LayerKind) -> ActivationScheme | None:
    if words == KEPT:
        return None
    if words in MIXED:
        linear, convolution = MIXED[words]
        words = linear if kind is LayerKind.LINEAR else convolution
    return parse_scheme(words.split()).activation


def change_of(row: Mapping[str, Any], base: Mapping[str, Any]) -> tuple[float, float, float]:
    """Mean difference of pairs, and its 95 % interval, in dB."""
    differences = np.subtract(row["pairs_db"], base["pairs_db"])
    mean, degrees = float(differences.mean()), len(differences) - 1
    half = float(statistics.t.ppf(0.975, degrees) * statistics.sem(differences))
    return mean, mean - half, mean + half


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table."""
    usual = {row["activations"]: row for row in rows if row["calibration"] == "default"}
    cells = [
        (
            row["activations"],
            row["calibration"],
            number(row["latent_sqnr_db"], 1, " dB"),
            number(row["worst_tenth_db"], 1, " dB"),
            _change_text(row, rows[0]),
            _change_text(row, usual.get(row["activations"], row)),
        )
        for row in rows
    ]
    header = ("activations", "calibration", "latent SQNR", "a tenth lies below")
    print(table((*header, "against the first, dB", "against the default, dB"), cells))


def _change_text(row: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    if row is base:
        return ""
    return "{:+.1f} ({:+.1f} … {:+.1f})".format(*change_of(row, base))


if __name__ == "__main__":
    main()
