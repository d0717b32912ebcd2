"""Does each contribution of PTQ4ADM help? Prompts, states and set sizes, everything else alike.

``python -m benchmarks.calibration [--seeds 3] [--sizes 32 64 128 256] [--pairs 64]``

Static 8-bit activations per tensor and 4-bit weights with GPTQ are where calibration can matter;
dynamic activations with rounding to nearest are the negative control, which must not change at all.
Measured against full precision on states of held-out prompts (guided prediction) and on final
latents of pairs. Finished rows are kept: an interrupted run resumes.
"""

import argparse
import copy
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import stats as statistics

from benchmarks.clips import RESULTS, SETTINGS, write_results
from ptq.adms.base import AudioDiffusionModel
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.adms.sampling import NoiseTape, Sampler
from ptq.affine import sqnr_db
from ptq.calibration.calibrator import sites_to_watch
from ptq.calibration.observe import Observation, observe_states
from ptq.calibration.prompt_choice import calibration_prompts
from ptq.calibration.replay import Replay
from ptq.calibration.rounding import rounded_weights
from ptq.calibration.signatures import Signatures, measure_signatures
from ptq.calibration.states import StateRecorder, StateSet
from ptq.calibration.strategies import Candidates, strategy
from ptq.config import QuantConfig, parse_rules
from ptq.layers import inventory
from ptq.plan import QuantPlan, resolve_plan
from ptq.prompts.suites import Suite, draw_suite
from ptq.quantize import quantize_
from ptq.report_markdown import table
from ptq.study_config import CalibrationSettings

PROMPTS = {"random": False, "covering": True}
STRATEGIES = ("uniform", "normal-in-time", "density-diversity", "activation-aware")
ENDS = "denoiser.conv_in = keep\ndenoiser.conv_out = keep\ndenoiser.*embedding* = keep\n"
PLANS = {
    "static a8": f"{ENDS}denoiser.* = a8",
    "w4 gptq": f"{ENDS}denoiser.* = w4 gptq",
    "control": f"{ENDS}denoiser.* = w4a8 dynamic",
}
_RECORDED = 32
_VALIDATION_PROMPTS, _VALIDATION_STATES, _VALIDATION_SEED = 16, 64, 900
_BATCH = 8


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--pairs", type=int, default=64, help="0 leaves the latents out")
    parser.add_argument("--adm", default="mini-audioldm")
    arguments = parser.parse_args()
    adm = load_adm(find_adm(arguments.adm))
    what = {"adm": adm.id, "model": adm.source_hash, "pairs": arguments.pairs}
    rows = finished_rows(what)
    bench = Bench(adm=adm, pairs=arguments.pairs)
    cells = itertools.product(range(1, arguments.seeds + 1), PROMPTS)
    for seed, prompts in cells:
        for row in bench.rows(prompts, seed, arguments.sizes, rows):
            rows.append(row)
            write_results("calibration", {**what, "rows": rows})
    effects = list(effects_of(rows))
    path = write_results("calibration", {**what, "rows": rows, "effects": effects})
    show(effects)
    print(path)


def finished_rows(what: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of an earlier run of the same model."""
    path = RESULTS / "calibration.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    same = all(found.get(key) == value for key, value in what.items())
    return list(found["rows"]) if same else []


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells one cell from another."""
    return tuple(row[name] for name in ("prompts", "states", "size", "seed", "plan"))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every cell is measured with."""

    adm: AudioDiffusionModel
    pairs: int

    def rows(
        self, prompts: str, seed: int, sizes: Sequence[int], known: Sequence[Mapping[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """Measure the cells of one recorded pool that are not known yet."""
        done = {key_of(row) for row in known}
        wanted: list[dict[str, Any]] = [
            {"prompts": prompts, "states": states, "size": size, "seed": seed, "plan": plan}
            for states in STRATEGIES
            for size in sizes
            for plan in PLANS
        ]
        missing = [cell for cell in wanted if key_of(cell) not in done]
        if not missing:
            return
        candidates = self._candidates(prompts, seed)
        for cell in missing:
            chosen = strategy(cell["states"]).states(candidates, cell["size"], seed)
            quantized = self._quantized(cell["plan"], StateSet.of(candidates.pool, chosen))
            row = {**cell, **self._scores(quantized)}
            print(row, flush=True)
            yield row

    def _candidates(self, prompts: str, seed: int) -> Candidates:
        settings = CalibrationSettings(prompts=_RECORDED, covering=PROMPTS[prompts], seed=seed)
        recorder = StateRecorder(adm=self.adm, settings=SETTINGS, seed=seed, batch_size=_BATCH)
        pool = recorder.record(calibration_prompts(self.adm, settings))
        measured: dict[bytes, Signatures] = {}

        def measure(states: np.ndarray) -> Signatures:
            key = states.tobytes()
            if key not in measured:
                replay = Replay(adm=self.adm, states=StateSet.of(pool, states))
                measured[key] = measure_signatures(replay)
            return measured[key]

        return Candidates(pool=pool, measure=measure)

    def _plan(self, name: str) -> QuantPlan:
        config = QuantConfig(name=name, rules=parse_rules(PLANS[name]))
        return resolve_plan(config, inventory(self.adm.parts(), self.adm.splits()))

    def _quantized(self, name: str, states: StateSet) -> AudioDiffusionModel:
        plan, replay = self._plan(name), Replay(adm=self.adm, states=states)
        layers = inventory(self.adm.parts(), self.adm.splits())
        stats = observe_states(replay, Observation(sites=sites_to_watch(plan, layers)))
        other = copy.deepcopy(self.adm)
        quantize_(other.parts(), plan, stats, weights=rounded_weights(replay, plan, stats))
        return other

    @cached_property
    def _validation(self) -> StateSet:
        drawn = draw_suite(Suite.EXPLORATION, _VALIDATION_PROMPTS, _VALIDATION_SEED)
        recorder = StateRecorder(
            adm=self.adm, settings=SETTINGS, seed=_VALIDATION_SEED, batch_size=_BATCH
        )
        pool = recorder.record([prompt.text for prompt in drawn])

        def unmeasured(states: np.ndarray) -> Signatures:
            raise NotImplementedError(f"{len(states)} states are drawn evenly, not measured")

        candidates = Candidates(pool=pool, measure=unmeasured)
        chosen = strategy("uniform").states(candidates, _VALIDATION_STATES, _VALIDATION_SEED)
        return StateSet.of(pool, chosen)

    @cached_property
    def _said(self) -> torch.Tensor:
        return Replay(adm=self.adm, states=self._validation).predictions()

    @cached_property
    def _latents(self) -> torch.Tensor:
        return self._sampled(self.adm)

    def _sampled(self, adm: AudioDiffusionModel) -> torch.Tensor:
        drawn = draw_suite(Suite.EXPLORATION, self.pairs, _VALIDATION_SEED + 1)
        conditioning = adm.encode([prompt.text for prompt in drawn])
        sampler, tape = Sampler(adm=adm, settings=SETTINGS), NoiseTape(_VALIDATION_SEED)
        starts = range(0, self.pairs, _BATCH)
        spans = [(start, min(start + _BATCH, self.pairs)) for start in starts]
        return torch.cat([sampler(conditioning.rows(*s), tape, range(*s)) for s in spans])

    def _scores(self, quantized: AudioDiffusionModel) -> dict[str, float]:
        said = Replay(adm=quantized, states=self._validation).predictions()
        scores = {"prediction_sqnr_db": sqnr_db(self._said, said)}
        if self.pairs:
            found = self._sampled(quantized)
            each = [sqnr_db(a, b) for a, b in zip(self._latents, found, strict=True)]
            scores["latent_sqnr_db"] = float(np.median(each))
        return scores


def effects_of(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Gain over random prompts with uniform states, by plan, paired over sizes and seeds."""
    found = {key_of(row): row for row in rows}
    measures = [name for name in rows[0] if name.endswith("_db")] if rows else []
    for plan, prompts, states, name in itertools.product(PLANS, PROMPTS, STRATEGIES, measures):
        gains = [
            row[name] - base[name]
            for row in rows
            if (row["plan"], row["prompts"], row["states"]) == (plan, prompts, states)
            for base in [found.get(("random", "uniform", row["size"], row["seed"], plan))]
            if base is not None
        ]
        if len(gains) > 1 and (prompts, states) != ("random", "uniform"):
            mean, error = float(np.mean(gains)), float(statistics.sem(gains))
            half = float(statistics.t.ppf(0.975, len(gains) - 1)) * error
            yield {
                "plan": plan,
                "prompts": prompts,
                "states": states,
                "measure": name,
                "n": len(gains),
                "gain_db": mean,
                "ci95_db": [mean - half, mean + half],
            }


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
            str(effect["n"]),
        )
        for effect in effects
    ]
    print(table(("plan", "prompts", "states", "measure", "gain", "95 % interval", "n"), rows))


if __name__ == "__main__":
    main()
