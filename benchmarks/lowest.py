"""How low can it go? Each method's least bits that stay non-inferior: ``benchmarks.lowest``.

Each method is a ladder of plans of fewer and fewer bits. The lowest plan that passes paired gates
is found by bisection on suite A: few pairs, and limits that were fixed before anything was
measured on this suite. Those plans alone are then scored on suite B, once, with the prompts, noise
and banks of ``benchmarks.claim``, and their verdicts are corrected for their number (Holm); a plan
that fails there leaves its method without an answer. Bits count all that is stored for the
denoiser, scales and norms included. Finished probes and plans are kept.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy import stats as statistics

from benchmarks.allocations import allocator_of, rebuilt
from benchmarks.claim import FRESH, OURS, REBUILT, REST, RIVALS, calibration_of
from benchmarks.clips import SETTINGS, ClipBank
from benchmarks.presets import PlanBench, fd_cells, show_notes
from benchmarks.records import earlier, write_results
from benchmarks.sizes import denoiser_bytes
from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm, lexicon_of
from ptq.allocate import Allocator
from ptq.banks import Banks, ear_id, embed_banks
from ptq.config import QuantConfig, parse_rules
from ptq.errors import ConfigError, MetricError
from ptq.layer_spec import DENOISER
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.metrics.inference import MARGIN_PCT
from ptq.metrics.verdict import MIN_TEXT_SCORE_PCT, Verdict
from ptq.plan import resolve_plan
from ptq.prompts.suites import Suite, draw_suite
from ptq.report_markdown import number, table
from ptq.scoring import pair_embedding_scores, text_change_lower_pct

# How far a pair may be apart, 1 being as far as another seed, and a tenth of the pairs. The presets
# were non-inferior at medians of 0.008 to 0.020, and rose by 9 and 11 % at 0.085 and 0.097.
MAX_MEDIAN, MAX_TENTH = 0.03, 0.12
_A_SEED = 400
_BITS = (8, 6, 5, 4, 3, 2)
# The question is how few bits weights can do with: activations take the same 8 everywhere. Their
# ranges are static, as these methods have them, and once dynamic, for PTQ4ADM may have a few such.
_UNIFORM = MappingProxyType(
    {
        **RIVALS,
        "GPTQ in groups": "denoiser.* = w{bits} asym group mse gptq a8 optional",
        "GPTQ in groups, dynamic": "denoiser.* = w{bits} asym group mse gptq a8 dynamic optional",
    }
)
METHODS = (*_UNIFORM, OURS, REBUILT)
_MEAN_BITS = (8.0, 7.0, 6.0, 5.5, 5.0, 4.75, 4.5, 4.25, 4.0, 3.75, 3.5, 3.25, 3.0, 2.75, 2.5)


def main() -> None:
    """Search on A, score on B, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=512, help="of suite B")
    parser.add_argument("--probe-pairs", type=int, default=64, help="of suite A")
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
    for name, config in lows.items():
        found.score(name, config, benches[name])
    show(found.finish())


def ladder(name: str, adm: AudioDiffusionModel) -> tuple[QuantConfig, ...]:
    """Plans of a method, most bits first."""
    if name in _UNIFORM:
        rules = f"{_UNIFORM[name]}\n{REST}"
        return tuple(
            QuantConfig(name=f"{name} {bits}", rules=parse_rules(rules.format(bits=bits)))
            for bits in _BITS
        )
    ours = tuple(_allocations(allocator_of(adm)))
    if name == OURS:
        return ours
    return tuple(rebuilt(plan, plan.name.replace(OURS, REBUILT)) for plan in ours)


def _allocations(allocator: Allocator) -> Iterator[QuantConfig]:
    for bits in _MEAN_BITS:
        try:
            yield allocator.with_mean_bits(bits, f"{OURS} {bits:g}").config()
        except ConfigError:  # the schemes that were measured go no lower
            return


def lowest(
    rungs: Sequence[QuantConfig], passes: Callable[[QuantConfig], bool]
) -> QuantConfig | None:
    """The last rung that passes, by bisection; ``None`` if not even the first does.

    It is taken for granted that a rung passes if a lower one does.
    """
    if not passes(rungs[0]):
        return None
    good, bad = 0, len(rungs)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if passes(rungs[middle]) else (good, middle)
    return rungs[good]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Paired gates on suite A.

    Attributes:
        bench: Quantizes.
        pairs: How many are compared.
    """

    bench: PlanBench
    pairs: int

    def clips_name(self, config: QuantConfig) -> str:
        """What the clips of a plan are called."""
        return self.bench.clips_name(resolve_plan(config, layers_of(self.bench.adm)))

    def __call__(self, config: QuantConfig) -> dict[str, Any]:
        """What the gates look at, and whether all are passed."""
        adm, clips = self.bench.adm, self.clips_name(config)
        quantized = self._bank(clips, self.bench.quantized_by(config))
        banks = Banks(
            prompts=quantized.prompts,
            full=tuple(self._bank("fp", adm).clips()),
            second=tuple(self._bank("fp", adm, 1).clips()),
            quantized=tuple(quantized.clips()),
        )
        return {"name": config.name, "clips": clips, **self._judged(banks)}

    def _judged(self, banks: Banks) -> dict[str, Any]:
        defects = asdict(banks.new_defects())
        try:
            found = embed_banks(self.bench.ear, banks)
        except MetricError as error:  # too few bits, and a clip is not finite
            return {"new_defects": defects, "passed": False, "reason": str(error)}
        index = pair_embedding_scores(found)[1]
        median, tenth = (float(np.nanquantile(index, share)) for share in (0.5, 0.9))
        text = text_change_lower_pct(found, np.arange(len(index)))
        alike = median <= MAX_MEDIAN and tenth <= MAX_TENTH and not any(defects.values())
        return {
            "divergence_median": median,
            "divergence_tenth": tenth,
            "text_score_lower_pct": text,
            "new_defects": defects,
            "passed": alike and text is not None and text >= MIN_TEXT_SCORE_PCT,
        }

    def _bank(self, name: str, adm: AudioDiffusionModel, offset: int = 0) -> ClipBank:
        lexicon = lexicon_of(adm.id)
        drawn = draw_suite(Suite.EXPLORATION, self.pairs, _A_SEED, lexicon)
        texts = tuple(prompt.text for prompt in drawn)
        return ClipBank(name=f"a-{name}", adm=adm, prompts=texts, seed=_A_SEED + offset)


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
        what = {
            **{"adm": adm.id, "model": adm.source_hash, "ear": ear_id(ear)},
            **{"n": pairs, "n_probe": probe_pairs, "seed": FRESH, "seed_probe": _A_SEED},
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

    def score(self, method: str, config: QuantConfig | None, final: PlanBench) -> None:
        """Score a method's lowest plan on B, once; a method that has none keeps a row without."""
        layers = layers_of(self.adm)
        plan = None if config is None else resolve_plan(config, layers)
        clips = "" if plan is None else final.clips_name(plan)
        if any((row["method"], row["clips"]) == (method, clips) for row in self.rows):
            return
        self.rows[:] = [row for row in self.rows if row["method"] != method]
        row: dict[str, Any] = {"method": method, "clips": clips}
        if plan is not None and config is not None:
            weights = sum(info.parameters for info in layers if info.part == DENOISER)
            size = denoiser_bytes(self.adm, plan)
            bank = final.bank(clips, final.quantized_by(config))
            full, second = final.bank("fp", self.adm), final.bank("fp", self.adm, 1)
            row |= {
                "name": config.name,
                "nominal_bits": plan.weight_bits_mean(layers, DENOISER),
                "stored_bits": 8 * size / weights,
                **final.scores(full, second, bank),
            }
        self.rows.append(row)
        self._write()

    def finish(self) -> list[dict[str, Any]]:
        """Correct the verdicts for their number."""
        resolved = [row for row in self.rows if row.get("ci95_pct") is not None]
        adjusted = holm([p_value(row) for row in resolved])
        for row, p in zip(resolved, adjusted, strict=True):
            row["holm_p"] = p
            row["holds"] = row["verdict"] == Verdict.NON_INFERIOR.value and p < 0.05
        self._write()
        return self.rows

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
    header = ("method", "lowest plan on A", "bits stored", "FD increase", "95 % interval")
    cells = [
        (
            row["method"],
            row.get("name", "none passes"),
            number(row.get("stored_bits"), 2),
            *fd_cells(row),
            row.get("verdict", "n/a"),
            number(row.get("holm_p"), 3),
            "n/a" if "holds" not in row else "yes" if row["holds"] else "no",
        )
        for row in sorted(rows, key=lambda row: row.get("stored_bits", float("inf")))
    ]
    print(table((*header, "verdict", "p, Holm", "holds on B"), cells))
    show_notes(rows, "method")


if __name__ == "__main__":
    main()
