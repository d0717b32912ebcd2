"""One model calibrated in every way that ``benchmarks.calibration`` compares.

Ranges and rounding rest on the same states, those that a strategy chooses: what states are worth is
the question. (In the library rounding has states of its own, spread over the steps.)
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.clips import SETTINGS
from benchmarks.latents import sampled_latents
from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.placed import accelerator, placed
from ptq.adms.sampling import NoiseTape, SamplingSettings
from ptq.affine import sqnr_db
from ptq.calibration.calibrator import needs_calibration, sites_to_watch
from ptq.calibration.coverage import REACHED, rows_of, standing_out
from ptq.calibration.observe import Observation, observe_states
from ptq.calibration.prompt_choice import calibration_prompts
from ptq.calibration.replay import Replay
from ptq.calibration.rounding import rounded_weights, rounds_by_data
from ptq.calibration.signatures import Signatures, measure_signatures
from ptq.calibration.states import StatePool, StateRecorder, StateSet, all_states
from ptq.calibration.strategies import Candidates, strategy
from ptq.config import QuantConfig, parse_rules
from ptq.plan import QuantPlan, resolve_plan
from ptq.prompts.suites import Suite, draw_suite
from ptq.quantize import quantize_
from ptq.study_config import CalibrationSettings

PROMPTS = {"random": False, "covering": True}
STRATEGIES = ("uniform", "normal-in-time", "density-diversity", "activation-aware")
RANGES, CALIBRATED = "w8 nearest, static a8", "w4 gptq, static a8"
CONTROL = "control: w4 nearest, dynamic a8"
_ENDS = "denoiser.conv_in = keep\ndenoiser.conv_out = keep\ndenoiser.*embedding* = keep\n"
PLANS = {
    RANGES: f"{_ENDS}denoiser.* = w8 a8",
    CALIBRATED: f"{_ENDS}denoiser.* = w4 gptq a8",
    CONTROL: f"{_ENDS}denoiser.* = w4a8 dynamic",
}
SHORT = replace(SETTINGS, seconds=2.56)
RECORDED = 64
HELD_OUT = {"prompts": 16, "states": 64, "seed": 900}
_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One way to calibrate, and what is calibrated by it."""

    prompts: str
    states: str
    size: int
    seed: int
    plan: str = CALIBRATED


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Calibrates one model in every way, and measures what comes of it.

    Attributes:
        adm: The full-precision model.
        pairs: Pairs whose final latents are compared; 0 for none.
        settings: Of every trajectory.
    """

    adm: AudioDiffusionModel
    pairs: int
    settings: SamplingSettings = SHORT
    # Of models that turned out alike in every number, the control's foremost.
    _known: dict[str, dict[str, Any]] = field(init=False, default_factory=dict)
    _last: dict[tuple[str, int], Candidates] = field(init=False, default_factory=dict)

    def rows(self, wanted: Sequence[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
        """Measure cells; trajectories are recorded once for neighbours of one pool."""
        for cell in wanted:
            quantized, chosen = self.quantized(cell)
            reach = self._reach(self._recorded(cell), chosen)
            yield cell, {**self._measured(quantized), **reach}

    def quantized(self, cell: Cell) -> tuple[AudioDiffusionModel, NDArray[np.int64]]:
        """The model that a cell makes, and the states that its ranges rest on."""
        candidates, layers = self._recorded(cell), layers_of(self.adm)
        chosen = strategy(cell.states).states(candidates, cell.size, cell.seed)
        plan = self._plan(cell.plan)
        replay = Replay(adm=self.adm, states=StateSet.of(candidates.pool, chosen))
        watched = sites_to_watch(plan, layers) if needs_calibration(plan) else []
        stats = observe_states(replay, Observation(sites=watched))
        codes = rounded_weights(replay, plan) if any(map(rounds_by_data, plan.quantized)) else {}
        other = copy.deepcopy(self.adm)
        quantize_(other.parts(), plan, stats, weights=codes)
        return other, chosen

    def _recorded(self, cell: Cell) -> Candidates:
        """The states that strategies choose from: all of one choice of prompts."""
        key = cell.prompts, cell.seed
        if key not in self._last:
            self._last.clear()  # trajectories of one choice are enough to hold
            self._last[key] = self._candidates(*key)
        return self._last[key]

    def _candidates(self, prompts: str, seed: int) -> Candidates:
        settings = CalibrationSettings(prompts=RECORDED, covering=PROMPTS[prompts], seed=seed)
        recorder = StateRecorder(
            adm=self._there, settings=self.settings, seed=seed, batch_size=_BATCH
        )
        # Covering ones come with the null prompt; what is compared is the choice of the others.
        chosen = dict.fromkeys((*calibration_prompts(self.adm, settings).texts, ""))
        pool = recorder.record(tuple(chosen))
        everything = all_states(pool)
        # Measured once, for whichever strategy asks and in whatever order.
        found = self._signatures(StateSet.of(pool, everything))

        def measure(states: NDArray[np.int64]) -> Signatures:
            return found.of(rows_of(everything, states))

        return Candidates(pool=pool, measure=measure)

    def _plan(self, name: str) -> QuantPlan:
        config = QuantConfig(name=name, rules=parse_rules(PLANS[name]))
        return resolve_plan(config, layers_of(self.adm))

    def _measured(self, quantized: AudioDiffusionModel) -> dict[str, Any]:
        key = digest_of(quantized)
        if key not in self._known:
            self._known[key] = self._scores(quantized)
        return self._known[key]

    def _scores(self, quantized: AudioDiffusionModel) -> dict[str, Any]:
        there = placed(quantized, accelerator())
        said = Replay(adm=there, states=self._validation).predictions()
        scores: dict[str, Any] = {"prediction_sqnr_db": [sqnr_db(self._said, said)]}
        if self.pairs:
            found = zip(self._latents, self._sampled_by(there), strict=True)
            scores["latent_sqnr_db"] = [round(sqnr_db(a, b), 3) for a, b in found]
        return scores

    @cached_property
    def _there(self) -> AudioDiffusionModel:
        """The full-precision model where it is fastest; rounding stays on the CPU."""
        return placed(self.adm, accelerator())

    def _signatures(self, states: StateSet) -> Signatures:
        return measure_signatures(Replay(adm=self._there, states=states))

    @cached_property
    def _held_out(self) -> StatePool:
        drawn = draw_suite(Suite.EXPLORATION, HELD_OUT["prompts"], HELD_OUT["seed"])
        recorder = StateRecorder(
            adm=self._there, settings=self.settings, seed=HELD_OUT["seed"], batch_size=_BATCH
        )
        return recorder.record([prompt.text for prompt in drawn])

    @cached_property
    def _met(self) -> Signatures:
        """What layers are given along the held-out trajectories."""
        return self._signatures(StateSet.of(self._held_out, all_states(self._held_out)))

    def _reach(self, candidates: Candidates, chosen: NDArray[np.int64]) -> dict[str, float]:
        """What the chosen states reach of what layers are given along held-out trajectories."""
        everything = candidates.all()
        found, rows = candidates.measure(everything), rows_of(everything, chosen)
        ours = {name: peaks[rows].max(axis=0) for name, peaks in found.peaks.items()}
        met = {name: peaks.max(axis=0) for name, peaks in self._met.peaks.items()}
        shares = [min(float(ours[name].max() / met[name].max()), 1.0) for name in met]
        reached = total = 0.0
        for name, out, weights in standing_out(self._met):
            reached += float(weights[ours[name][out] >= REACHED * met[name][out]].sum())
            total += float(weights.sum())
        figures = {"range_mean": float(np.mean(shares)), "range_least": min(shares)}
        return {**figures, "outlier_channels": reached / total}

    @cached_property
    def _validation(self) -> StateSet:
        pool = self._held_out

        def unmeasured(states: NDArray[np.int64]) -> Signatures:
            raise NotImplementedError(f"{len(states)} states are drawn evenly, not measured")

        candidates = Candidates(pool=pool, measure=unmeasured)
        chosen = strategy("uniform").states(candidates, HELD_OUT["states"], HELD_OUT["seed"])
        return StateSet.of(pool, chosen)

    @cached_property
    def _said(self) -> torch.Tensor:
        return Replay(adm=self._there, states=self._validation).predictions()

    def _sampled_by(self, adm: AudioDiffusionModel) -> torch.Tensor:
        seed = HELD_OUT["seed"]
        return sampled_latents(adm, self.settings, self.pairs, seed + 1, noise=NoiseTape(seed))

    @cached_property
    def _latents(self) -> torch.Tensor:
        return self._sampled_by(self._there)


def digest_of(adm: AudioDiffusionModel) -> str:
    """Hash of every number that a model computes with."""
    digest = hashlib.sha256()
    for part, module in adm.parts().items():
        for name, tensor in module.state_dict().items():
            digest.update(f"{part}.{name}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def key_of(row: Mapping[str, Any]) -> Cell:
    """The cell that a row of results is of."""
    names = ("prompts", "states", "size", "seed", "plan")
    return Cell(**{name: row[name] for name in names})
