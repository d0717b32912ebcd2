"""Calibrates a model for a plan: chooses prompts and states, and measures what layers see."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import lcm

from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.sampling import SamplingSettings, ShouldStop, never_stop
from ptq.algorithms.smooth import channel_balance
from ptq.calibration.manifest import CalibrationManifest
from ptq.calibration.observe import DEFAULT_BUCKETS, Observation, observe_states
from ptq.calibration.probe import Probe, Reach, Replays
from ptq.calibration.prompt_choice import CalibrationPrompts, calibration_prompts
from ptq.calibration.purposes import Purpose, rest_of, shares
from ptq.calibration.states import Progress, StateRecorder, StateSet, no_progress
from ptq.calibration.strategies import Candidates, strategy
from ptq.errors import CalibrationError
from ptq.layer_spec import DENOISER, LayerInfo, LayerSpec
from ptq.layers import get_layer
from ptq.observers import CalibrationStats
from ptq.plan import QuantPlan
from ptq.quantize import weight_rows
from ptq.scheme import MAX_TIMESTEP_BUCKETS, Balance
from ptq.study_config import CalibrationSettings


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Statistics, the states that calibration rests on, and what those came from.

    Attributes:
        stats: Of every observed layer.
        sets: States by purpose: for statistics and for reconstruction.
        manifest: Where they are from.
    """

    stats: CalibrationStats
    sets: Mapping[Purpose, StateSet]
    manifest: CalibrationManifest


@dataclass(frozen=True, kw_only=True)
class Calibrator:
    """Measures activation statistics of one model.

    Attributes:
        adm: The full-precision model.
        sampling: The deployed sampler's settings.
        wanted: Strategy and size of the calibration set.
        batch_size: Clips sampled at once.
        progress: Told after every batch of clips and every step of states.
        should_stop: Asked before every denoising step.
    """

    adm: AudioDiffusionModel
    sampling: SamplingSettings
    wanted: CalibrationSettings
    batch_size: int = 4
    progress: Progress = no_progress
    should_stop: ShouldStop = never_stop

    def __call__(self, plan: QuantPlan) -> Calibration:
        """Measure what a plan needs, and every denoiser layer beside it.

        Raises:
            Cancelled: As soon as ``should_stop`` says so.
        """
        chooser = strategy(self.wanted.strategy)
        prompts = calibration_prompts(self.adm, self.wanted)
        replays = Replays(
            adm=self.adm,
            steps=self.sampling.steps,
            progress=self.progress,
            should_stop=self.should_stop,
            before=len(prompts.texts),
            count=2 + bool(_uneven(plan)),
        )
        pool = self._recorder(replays.total).record(prompts.texts)
        probe = Probe(pool=pool, next_replay=replays.next)
        candidates = Candidates(pool=pool, measure=probe)
        count, others = shares(pool, self.wanted.states, self.wanted.reconstruction)
        chosen = chooser.states(candidates, count, self.wanted.seed)
        reach = probe.reach(chosen, self.wanted.seed)
        rest = rest_of(pool, chosen, others, self.wanted.seed)
        sets = {
            Purpose.STATISTICS: StateSet.of(pool, chosen),
            Purpose.RECONSTRUCTION: StateSet.of(pool, rest),
        }
        observation = Observation(
            sites=sites_to_watch(plan, layers_of(self.adm)),
            buckets=common_buckets(static_buckets(plan).values()),
        )
        states = sets[Purpose.STATISTICS]
        watched = self._balanced(observation, plan, replays, states)
        stats = observe_states(replays.next(states), watched)
        manifest = self._manifest(prompts, reach, sets, observation, balances_of(plan))
        return Calibration(stats=stats, sets=sets, manifest=manifest)

    def _manifest(
        self,
        prompts: CalibrationPrompts,
        reach: Reach,
        sets: Mapping[Purpose, StateSet],
        observation: Observation,
        balanced: Mapping[str, str],
    ) -> CalibrationManifest:
        return CalibrationManifest(
            strategy=self.wanted.strategy,
            covering=self.wanted.covering,
            model_hash=self.adm.source_hash,
            sampler=type(self.adm).__name__,
            steps=self.sampling.steps,
            guidance=self.sampling.guidance,
            seconds=self.sampling.seconds,
            seed=self.wanted.seed,
            buckets=observation.buckets,
            prompts=prompts.texts,
            states=len(sets[Purpose.STATISTICS]),
            reconstruction=len(sets[Purpose.RECONSTRUCTION]),
            coverage=reach.figures,
            balanced=balanced,
            site_coverage=reach.sites,
            random_site_coverage=reach.random_sites,
            prompt_coverage=prompts.coverage,
            prompt_rounds=prompts.rounds,
        )

    def _balanced(
        self, wanted: Observation, plan: QuantPlan, replays: Replays, states: StateSet
    ) -> Observation:
        """What to watch once channels are evened out, which takes a replay of its own."""
        kinds = _uneven(plan)
        uneven = [info for info in wanted.sites if info.name in kinds]
        if not uneven:
            return wanted
        parts = self.adm.parts()
        seen = observe_states(replays.next(states), replace(wanted, sites=uneven))
        unseen = next((info.name for info in uneven if info.name not in seen), None)
        if unseen is not None:
            raise CalibrationError(
                f"{unseen} saw no data during calibration, so its channels cannot be evened out;"
                " leave 'smooth' out of its rule."
            )
        balances = {
            info.name: channel_balance(
                seen[info.name].channel_peak,
                weight_rows(get_layer(parts, info.name), info).cpu(),
                kinds[info.name],
            )
            for info in uneven
        }
        return replace(wanted, balances=balances)

    def _recorder(self, total: int) -> StateRecorder:
        return StateRecorder(
            adm=self.adm,
            settings=self.sampling,
            seed=self.wanted.seed,
            batch_size=self.batch_size,
            progress=lambda done, _: self.progress(done, total),
            should_stop=self.should_stop,
        )


def _uneven(plan: QuantPlan) -> dict[str, Balance]:
    """How channels are evened out, for the layers where they are."""
    found = {spec.name: _balance(spec) for spec in plan.quantized}
    return {name: kind for name, kind in found.items() if kind is not Balance.NONE}


def common_buckets(wanted: Iterable[int]) -> int:
    """Ten for the histograms, or more where the plan asks; its own where both are too many."""
    own = lcm(*wanted)
    both = lcm(DEFAULT_BUCKETS, own)
    return both if both <= MAX_TIMESTEP_BUCKETS else own


def static_buckets(plan: QuantPlan) -> dict[str, int]:
    """Timestep buckets of every layer whose activations have static ranges."""
    schemes = ((spec.name, spec.scheme.activation) for spec in plan.quantized)
    return {
        name: scheme.timestep_buckets
        for name, scheme in schemes
        if scheme is not None and scheme.is_static
    }


def needs_calibration(plan: QuantPlan) -> bool:
    """Whether any layer's ranges or codes rest on what calibration sees."""
    return bool(static_buckets(plan)) or any(map(sees_inputs, plan.quantized))


def serves(stats: CalibrationStats, plan: QuantPlan) -> bool:
    """Whether statistics, perhaps those of another plan, hold everything that a plan needs."""
    ranges = all(
        name in stats and stats[name].buckets % buckets == 0
        for name, buckets in static_buckets(plan).items()
    )
    weights = ((spec.name, spec.scheme.weight) for spec in plan.quantized)
    means = all(name in stats for name, weight in weights if weight is not None and weight.debias)
    evened = {name for name, found in stats.items() if found.balance.numel()}
    return ranges and means and evened == set(balances_of(plan))


def balances_of(plan: QuantPlan) -> dict[str, str]:
    """How the channels of each layer are evened out, where they are."""
    found = {spec.name: _balance(spec) for spec in plan.quantized}
    return {name: kind.value for name, kind in found.items() if kind is not Balance.NONE}


def sees_inputs(spec: LayerSpec) -> bool:
    """Whether what is stored of a layer depends on calibration."""
    return spec.scheme.weight is not None and spec.scheme.weight.sees_inputs


def _balance(spec: LayerSpec) -> Balance:
    return Balance.NONE if spec.scheme.weight is None else spec.scheme.weight.balance


def sites_to_watch(plan: QuantPlan, layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Layers with static ranges, and all of the denoiser's for its histograms.

    Attention probabilities are large and come at the price of the fused kernel: they are
    watched only where the plan quantizes them.
    """
    static = static_buckets(plan)
    data = {spec.name for spec in plan.quantized if sees_inputs(spec)}
    return [
        info
        for info in layers
        if info.name in static
        or info.name in data
        or (info.part == DENOISER and info.kind.has_weight)
    ]
