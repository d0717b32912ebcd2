"""One model calibrated in every way that ``benchmarks.calibration`` compares."""

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
from benchmarks.presets import PlanBench
from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.placed import accelerator, placed
from ptq.adms.sampling import SamplingSettings
from ptq.affine import sqnr_db
from ptq.calibration.calibrator import sites_to_watch
from ptq.calibration.coverage import REACHED, rows_of, standing_out
from ptq.calibration.observe import Observation, observe_states
from ptq.calibration.prompt_choice import calibration_prompts
from ptq.calibration.replay import Replay
from ptq.calibration.rounding import rounded_weights
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
CALIBRATED, CONTROL = "w4 gptq, static a8", "control: w4 nearest, dynamic a8"
_ENDS = "denoiser.conv_in = keep\ndenoiser.conv_out = keep\ndenoiser.*embedding* = keep\n"
PLANS = {
    CALIBRATED: f"{_ENDS}denoiser.* = w4 gptq a8",
    CONTROL: f"{_ENDS}denoiser.* = w4a8 dynamic",
}
SHORT = replace(SETTINGS, seconds=2.56)
RECORDED = 32
_VALIDATION_PROMPTS, _VALIDATION_STATES, _VALIDATION_SEED = 16, 64, 900
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
    _known: dict[str, dict[str, float]] = field(default_factory=dict)

    def rows(self, wanted: Sequence[Cell]) -> Iterator[tuple[Cell, dict[str, float]]]:
        """Measure cells; trajectories are recorded once for neighbours of one pool."""
        pool: tuple[str, int] | None = None
        candidates: Candidates | None = None
        for cell in wanted:
            if candidates is None or pool != (cell.prompts, cell.seed):
                pool = (cell.prompts, cell.seed)
                candidates = self._candidates(*pool)
            chosen = strategy(cell.states).states(candidates, cell.size, cell.seed)
            quantized = self._quantized(cell.plan, candidates, chosen)
            yield cell, {**self._measured(quantized), **self._reach(candidates, chosen)}

    def corner(self, cell: Cell, scorer: PlanBench) -> dict[str, Any]:
        """Score one cell by what is heard: FD with its interval, and paired figures."""
        candidates = self._candidates(cell.prompts, cell.seed)
        chosen = strategy(cell.states).states(candidates, cell.size, cell.seed)
        quantized = self._quantized(cell.plan, candidates, chosen)
        full, second = scorer.bank("fp", self.adm), scorer.bank("fp", self.adm, 1)
        bank = scorer.bank(f"cell-{digest_of(quantized)[:8]}", quantized)
        return scorer.scores(full, second, bank)

    def _candidates(self, prompts: str, seed: int) -> Candidates:
        settings = CalibrationSettings(prompts=RECORDED, covering=PROMPTS[prompts], seed=seed)
        recorder = StateRecorder(
            adm=self._there, settings=self.settings, seed=seed, batch_size=_BATCH
        )
        # Covering ones come with the null prompt; what is compared is the choice of the others.
        chosen = dict.fromkeys((*calibration_prompts(self.adm, settings), ""))
        pool = recorder.record(tuple(chosen))
        everything = all_states(pool)
        # Measured once, for whichever strategy asks and in whatever order.
        found = self._signatures(StateSet.of(pool, everything))

        def measure(states: NDArray[np.int64]) -> Signatures:
            return found.of(rows_of(everything, states))

        return Candidates(pool=pool, measure=measure)

    def _quantized(
        self, name: str, candidates: Candidates, chosen: NDArray[np.int64]
    ) -> AudioDiffusionModel:
        replay = Replay(adm=self.adm, states=StateSet.of(candidates.pool, chosen))
        plan, layers = self._plan(name), layers_of(self.adm)
        stats = observe_states(replay, Observation(sites=sites_to_watch(plan, layers)))
        other = copy.deepcopy(self.adm)
        quantize_(other.parts(), plan, stats, weights=rounded_weights(replay, plan, stats))
        return other

    def _plan(self, name: str) -> QuantPlan:
        config = QuantConfig(name=name, rules=parse_rules(PLANS[name]))
        return resolve_plan(config, layers_of(self.adm))

    def _measured(self, quantized: AudioDiffusionModel) -> dict[str, float]:
        key = digest_of(quantized)
        if key not in self._known:
            self._known[key] = self._scores(quantized)
        return self._known[key]

    def _scores(self, quantized: AudioDiffusionModel) -> dict[str, float]:
        there = placed(quantized, accelerator())
        said = Replay(adm=there, states=self._validation).predictions()
        scores = {"prediction_sqnr_db": sqnr_db(self._said, said)}
        if self.pairs:
            found = self._sampled_by(there)
            each = [sqnr_db(a, b) for a, b in zip(self._latents, found, strict=True)]
            scores["latent_sqnr_db"] = float(np.median(each))
        return scores

    @cached_property
    def _there(self) -> AudioDiffusionModel:
        """The full-precision model where it is fastest; rounding stays on the CPU."""
        return placed(self.adm, accelerator())

    def _signatures(self, states: StateSet) -> Signatures:
        return measure_signatures(Replay(adm=self._there, states=states))

    @cached_property
    def _held_out(self) -> StatePool:
        drawn = draw_suite(Suite.EXPLORATION, _VALIDATION_PROMPTS, _VALIDATION_SEED)
        recorder = StateRecorder(
            adm=self._there, settings=self.settings, seed=_VALIDATION_SEED, batch_size=_BATCH
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
        chosen = strategy("uniform").states(candidates, _VALIDATION_STATES, _VALIDATION_SEED)
        return StateSet.of(pool, chosen)

    @cached_property
    def _said(self) -> torch.Tensor:
        return Replay(adm=self._there, states=self._validation).predictions()

    def _sampled_by(self, adm: AudioDiffusionModel) -> torch.Tensor:
        seed = _VALIDATION_SEED
        return sampled_latents(adm, self.settings, self.pairs, seed + 1, noise=seed)

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
