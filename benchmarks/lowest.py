"""How low can it go? Each method's least bits that stay non-inferior: ``benchmarks.lowest``.

Each method is a ladder of plans of fewer and fewer bits. The lowest plan that passes paired gates
is found by bisection on suite A: few pairs, and limits that were fixed before anything was measured
on this suite. Those plans alone are then scored on suite B, with the prompts, noise and banks of
``benchmarks.claim``. A method whose plan fails there is asked again one rung higher, at most twice
(``--climb``). Verdicts are corrected for all that was asked (Holm), and what fails by that has
failed. Bits count all that is stored for the denoiser, scales and norms included. Finished probes
and plans are kept.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats as statistics

from benchmarks.claim import FRESH, calibration_of
from benchmarks.clips import SETTINGS
from benchmarks.ladders import METHODS, climbing, ladder, lowest
from benchmarks.paired_gate import MAX_MEDIAN, MAX_TENTH, SUITE_SEED, Gate
from benchmarks.presets import PlanBench, fd_cells, show_notes
from benchmarks.records import earlier, texts_hash, write_results
from benchmarks.sizes import denoiser_bytes
from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.loading import load_adm
from ptq.adms.placed import device_name
from ptq.adms.registry import find_adm, lexicon_of
from ptq.banks import ear_id
from ptq.config import QuantConfig
from ptq.layer_spec import DENOISER
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.metrics.inference import MARGIN_PCT
from ptq.metrics.verdict import MIN_TEXT_SCORE_PCT, Verdict
from ptq.plan import resolve_plan
from ptq.prompts.suites import Suite, draw_suite
from ptq.report_markdown import number, table


def main() -> None:
    """Search on A, score on B, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=512, help="of suite B")
    parser.add_argument("--probe-pairs", type=int, default=64, help="of suite A")
    parser.add_argument("--climb", type=int, default=2, help="rungs that are asked if one fails")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    arguments = parser.parse_args()
    adm, ear = load_adm(find_adm("mini-audioldm")), find_ear()
    if not isinstance(ear, Ear):
        raise SystemExit(f"Methods are scored with the shipped ear: {ear}")
    found = Results.of(adm, ear, arguments.pairs, arguments.probe_pairs)
    prompts = draw_suite(Suite.FINAL, arguments.pairs, FRESH, lexicon_of(adm.id))
    benches = {
        name: PlanBench(
            adm=adm,
            ear=ear,
            prompts=prompts,
            configs={},
            seed=FRESH,
            wanted=calibration_of(name),
        )
        for name in arguments.methods
    }
    lows = {
        name: found.lowest(name, Gate(bench=benches[name], pairs=arguments.probe_pairs))
        for name in arguments.methods
    }
    plans = {name: climbing(ladder(name, adm), low, arguments.climb) for name, low in lows.items()}
    show(found.climb(plans, benches))


@dataclass(frozen=True, kw_only=True)
class Results:
    """What is known already, on disk after every step."""

    adm: AudioDiffusionModel
    what: Mapping[str, Any]
    probes: list[dict[str, Any]]
    rows: list[dict[str, Any]]

    @classmethod
    def of(cls, adm: AudioDiffusionModel, ear: Ear, pairs: int, probe_pairs: int) -> "Results":
        """Those of an earlier run with the same model, ear, prompts and settings, or none."""
        suites = (Suite.FINAL, pairs, FRESH), (Suite.EXPLORATION, probe_pairs, SUITE_SEED)
        lexicon = lexicon_of(adm.id)
        drawn = [prompt for suite in suites for prompt in draw_suite(*suite, lexicon)]
        what = {
            **{"adm": adm.id, "model": adm.source_hash, "ear": ear_id(ear)},
            **{"texts": texts_hash(prompt.text for prompt in drawn), "device": device_name()},
            **{"n": pairs, "n_probe": probe_pairs, "seed": FRESH, "seed_probe": SUITE_SEED},
            "limits": [MAX_MEDIAN, MAX_TENTH, MIN_TEXT_SCORE_PCT],
            "settings": asdict(SETTINGS),
        }
        found = earlier("lowest", what)
        probes, rows = found.get("probes", []), found.get("rows", [])
        return cls(adm=adm, what=what, probes=probes, rows=rows)

    def lowest(self, method: str, gate: Gate) -> QuantConfig | None:
        """The plan of fewest bits that passes on A, if any does."""
        return lowest(ladder(method, self.adm), lambda config: self.probe(config, gate))

    def probe(self, config: QuantConfig, gate: Gate) -> bool:
        """Whether a plan passes on A; measured at most once."""
        clips = gate.clips_name(config)
        known = next((probe for probe in self.probes if probe["clips"] == clips), None)
        if known is None:
            known = gate(config)
            self.probes.append(known)
            self._write()
            print(known, flush=True)
        return bool(known["passed"])

    def climb(
        self,
        plans: Mapping[str, Sequence[QuantConfig | None]],
        benches: Mapping[str, PlanBench],
    ) -> list[dict[str, Any]]:
        """Score the plans of each method upwards, until one holds among all that were scored.

        Args:
            plans: From each method's lowest on.
            benches: Score them on B.
        """
        before: list[tuple[str, int]] | None = None
        asked: list[tuple[str, int]] = []
        while asked != before:  # what is asked of one method takes certainty from the others
            before = asked
            for method, rungs in plans.items():
                for rung, config in enumerate(rungs):
                    if self.score(method, rung, config, benches[method]):
                        break
            asked = [(row["method"], row["rung"]) for row in self.rows]
        return self.rows

    def score(self, method: str, rung: int, config: QuantConfig | None, final: PlanBench) -> bool:
        """Score a plan on B, once; a method that has none keeps a row without.

        Args:
            method: Whose plan it is.
            rung: How many rungs above the lowest that passed on A.
            config: The plan.
            final: Scores on B.

        Returns:
            Whether the method has its answer, after correction for all rows so far.
        """
        plan = None if config is None else resolve_plan(config, layers_of(self.adm))
        asked = {"method": method, "rung": rung, "clips": plan and final.clips_name(plan)}
        known = next((row for row in self.rows if asked.items() <= row.items()), None)
        if known is None:
            # Those of another ladder, which was climbed before.
            others = [r for r in self.rows if r["method"] != method or r["rung"] < rung]
            known = {**asked, **({} if config is None else self._scores(config, final))}
            self.rows[:] = [*others, known]
            self._correct()
        return config is None or bool(known.get("holds"))

    def _scores(self, config: QuantConfig, final: PlanBench) -> dict[str, Any]:
        layers = layers_of(self.adm)
        plan = resolve_plan(config, layers)
        weights = sum(info.parameters for info in layers if info.part == DENOISER)
        bank = final.bank(final.clips_name(plan), final.quantized_by(config))
        full, second = final.bank("fp", self.adm), final.bank("fp", self.adm, 1)
        return {
            "name": config.name,
            "nominal_bits": plan.weight_bits_mean(layers, DENOISER),
            "stored_bits": 8 * denoiser_bytes(self.adm, plan) / weights,
            **final.scores(full, second, bank),
        }

    def _correct(self) -> None:
        """Correct the verdicts for their number, and write."""
        resolved = [row for row in self.rows if row.get("ci95_pct") is not None]
        adjusted = holm([p_value(row) for row in resolved])
        for row, p in zip(resolved, adjusted, strict=True):
            row["holm_p"] = p
            row["holds"] = row["verdict"] == Verdict.NON_INFERIOR.value and p < 0.05
        self._write()

    def _write(self) -> None:
        write_results("lowest", {**self.what, "probes": self.probes, "rows": self.rows})


def p_value(row: Mapping[str, Any]) -> float:
    """One-sided p of an FD increase of the margin or more, from the interval of the increase."""
    degrees = row["n"] - 1
    low, high = row["ci95_pct"]
    error = (high - low) / 2 / float(statistics.t.ppf(0.975, degrees))
    if error <= 0.0:
        return float(row["increase_pct"] >= MARGIN_PCT)
    return float(statistics.t.sf((MARGIN_PCT - row["increase_pct"]) / error, degrees))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family of tests (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    steps = (len(p_values) - np.arange(len(p_values))) * np.asarray(p_values)[order]
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table, fewest bits first."""
    header = ("method", "mean bits", "bits stored", "rungs up", "FD increase", "95 % interval")
    cells = [
        (
            row["method"],
            number(row["nominal_bits"], 2) if "name" in row else "none passes on A",
            number(row.get("stored_bits"), 2),
            str(row["rung"]),
            *fd_cells(row),
            row.get("verdict", "n/a"),
            _p_text(row.get("holm_p")),
            "n/a" if "holds" not in row else "yes" if row["holds"] else "no",
        )
        for row in sorted(rows, key=lambda row: row.get("stored_bits", float("inf")))
    ]
    print(table((*header, "verdict", "p, Holm", "holds on B"), cells))
    show_notes(rows, "method")


def _p_text(p: float | None) -> str:
    return "< 0.001" if p is not None and p < 0.001 else number(p, 3)


if __name__ == "__main__":
    main()
