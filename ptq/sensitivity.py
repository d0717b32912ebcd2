"""Measures how much each layer minds each way of quantizing it.

Three rungs of a ladder of cost. ``output`` is closed form: one replay gives each layer's second
moment H, and the error of its output is tr(Δ H Δᵀ) for the weights, less what a corrected bias
takes back, plus what the noise of quantized activations adds, all against tr(W H Wᵀ). It does not
know where in the network a layer sits. ``prediction`` quantizes one layer at a time and compares
what the denoiser says after guidance, which amplifies errors, and takes one replay for every layer
and scheme. ``first_order`` estimates the same for all of them by gradients, at the price of a few
replays.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from ptq.adms.base import layers_of
from ptq.affine import relative_error
from ptq.algorithms.bias_correction import output_shift
from ptq.calibration.moments import each_moment
from ptq.calibration.observe import Observation, observe_states
from ptq.calibration.replay import Replay
from ptq.calibration.rounding import rounded_weight, rounded_weights
from ptq.config import QuantConfig, QuantRule
from ptq.first_order import Change, first_order_errors
from ptq.layer_spec import DENOISER, LayerInfo, LayerSpec
from ptq.layers import get_layer, set_layer_
from ptq.observers import CalibrationStats
from ptq.plan import QuantPlan, resolve_plan
from ptq.quantize import Prepared, quantize_layer, weight_rows
from ptq.ranges import noise_power
from ptq.rounding_target import rounding_target
from ptq.rule_text import parse_scheme
from ptq.scheme import LayerScheme, Rounding, WeightScheme
from ptq.sensitivities import (
    FIRST_ORDER,
    OUTPUT,
    PREDICTION,
    Sensitivities,
    check_first_order,
)
from ptq.weights import QuantizedWeight, output_error

_SILENT = 1e-30  # stands for the output of a layer that always says nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class SensitivityMeter:
    """Measures the layers of one model that a base plan quantizes.

    Attributes:
        replay: The full-precision model, and the states that errors are measured on.
        fitting: The same model, and the states that rounding looks at.
        stats: Statistics that serve every scheme with static activations.
        base: The layers of the denoiser whose weights it quantizes are measured.
        calibration: Hash of the calibration set's manifest.
    """

    replay: Replay
    fitting: Replay
    stats: CalibrationStats
    base: QuantPlan
    calibration: str

    def output(self, schemes: Sequence[str]) -> Sensitivities:
        """Relative error of each layer's own output, in closed form.

        Args:
            schemes: Words of rules, such as ``"w4 gptq a8 mse"``.
        """
        plans = self._plans(schemes)
        parts, sites = self.replay.adm.parts(), self._sites()
        errors: dict[str, dict[str, float]] = {}
        pairs = zip(each_moment(self.replay, sites), each_moment(self.fitting, sites), strict=True)
        for (info, moment), (_, fitted) in pairs:
            rows = weight_rows(get_layer(parts, info.name), info).float()
            signal = float(output_error(rows, torch.zeros_like(rows), moment).sum()) or _SILENT
            moments = (moment, fitted)
            errors[info.name] = {
                words: self._output_error(plan[info.name], info, rows, moments) / signal
                for words, plan in plans.items()
            }
        return self._table(OUTPUT, errors)

    def _output_error(
        self, spec: LayerSpec, info: LayerInfo, rows: Tensor, moments: tuple[Tensor, Tensor]
    ) -> float:
        moment, fitted = moments
        error, effective = 0.0, rows
        scheme, activation = spec.scheme.weight, spec.scheme.activation
        if scheme is not None:
            target = rounding_target(rows, scheme, info, self.stats)
            effective = rounded_weight(target, scheme, info, fitted).dequantize()
            errors = output_error(target.rows, effective, target.moment(moment))
            if scheme.debias:
                off = target.rows - effective
                corrected = output_shift(off, self.stats[info.name].channel_mean)
                own = output_shift(off, self._means[info.name].channel_mean)
                # E[(Δx − Δμ)²], for the mean μ that the bias was corrected by.
                errors = (errors - 2.0 * own * corrected + corrected.square()).clamp(min=0.0)
            error += float(errors.sum())
        if activation is not None:
            noise = noise_power(self.stats[info.name], activation)
            # Halves have ranges of their own, and meet columns of their own.
            halves = torch.split(effective, list(info.columns), dim=1)
            error += sum(
                float(power * half.square().sum())
                for power, half in zip(noise, halves, strict=True)
            )
        return error

    def prediction(
        self, schemes: Sequence[str], on_layer: Callable[[int, int], None] = lambda *_: None
    ) -> Sensitivities:
        """Relative error of the guided prediction with one layer quantized at a time.

        Args:
            schemes: Words of rules, as above.
            on_layer: Told how many layers of how many are measured.
        """
        parts = self.replay.adm.parts()
        reference = self.replay.predictions()
        plans, codes = self._plans(schemes), self._codes(schemes)
        errors: dict[str, dict[str, float]] = {}
        sites = self._sites()
        for done, info in enumerate(sites, start=1):
            errors[info.name] = {}
            for words, plan in plans.items():
                prepared = Prepared(stats=self.stats, weights=codes[words])
                layer = quantize_layer(parts, plan[info.name], info, prepared)
                with _standing_in(parts, info.name, layer):
                    errors[info.name][words] = relative_error(reference, self.replay.predictions())
            on_layer(done, len(sites))
        return self._table(PREDICTION, errors)

    def first_order(self, schemes: Sequence[str], *, draws: int = 1) -> Sensitivities:
        """What ``prediction`` measures, to first order, for all layers and schemes at once.

        Args:
            schemes: Words of rules, as above.
            draws: Passes back for each state; the estimate is as sure as their whole number.

        Raises:
            ConfigError: For a scheme that gradients know too little of.
        """
        check_first_order(schemes)
        plans = self._plans(schemes)
        changes = {
            info.name: self._changes(
                info, fitted, {w: plan[info.name] for w, plan in plans.items()}
            )
            for info, fitted in each_moment(self.fitting, self._sites())
        }
        return self._table(FIRST_ORDER, first_order_errors(self.replay, changes, draws=draws))

    def _changes(
        self, info: LayerInfo, fitted: Tensor, specs: Mapping[str, LayerSpec]
    ) -> dict[str, Change]:
        """What each scheme changes in one layer; each weight is rounded and held once."""
        parts = self.replay.adm.parts()
        source, found = get_layer(parts, info.name), dict[str, Change]()
        rows = weight_rows(source, info)
        alike: dict[WeightScheme | None, list[str]] = {}
        for words, spec in specs.items():
            alike.setdefault(spec.scheme.weight, []).append(words)
        for scheme, group in alike.items():
            codes = dict[str, QuantizedWeight]()
            if scheme is not None:
                target = rounding_target(rows, scheme, info, self.stats)
                codes[info.name] = rounded_weight(target, scheme, info, fitted)
            prepared = Prepared(stats=self.stats, weights=codes)
            for words in group:
                change = Change.of(source, quantize_layer(parts, specs[words], info, prepared))
                held = found.get(group[0], change).parameters
                found[words] = replace(change, parameters=held)
        return {words: found[words] for words in specs}

    @cached_property
    def _means(self) -> CalibrationStats:
        """What layers see on the states that errors are measured on, evened out as elsewhere."""
        balances = {
            name: found.balance for name, found in self.stats.items() if found.balance.numel()
        }
        return observe_states(self.replay, Observation(sites=self._sites(), balances=balances))

    def _sites(self) -> list[LayerInfo]:
        measured = {
            spec.name
            for spec in self.base.quantized
            if spec.scheme.weight is not None and spec.part == DENOISER
        }
        found = layers_of(self.replay.adm)
        return [info for info in found if info.name in measured and info.has_moment]

    def plan(self, words: str) -> QuantPlan:
        """All measured layers at one scheme, and nothing else.

        They are measured apart, so that none may make up for others: ``brecq`` becomes ``gptq``,
        with which it begins.
        """
        scheme, sites = _alone(parse_scheme(words.split())), self._sites()
        rules = tuple(QuantRule(pattern=info.name, scheme=scheme) for info in sites)
        return resolve_plan(QuantConfig(name=words, rules=rules), sites)

    def _plans(self, schemes: Sequence[str]) -> dict[str, dict[str, LayerSpec]]:
        plans = {words: self.plan(words).layers for words in schemes}
        return {words: {spec.name: spec for spec in layers} for words, layers in plans.items()}

    def _codes(self, schemes: Sequence[str]) -> dict[str, dict[str, QuantizedWeight]]:
        return {
            words: rounded_weights(self.fitting, self.plan(words), self.stats) for words in schemes
        }

    def _table(self, measure: str, errors: Mapping[str, Mapping[str, float]]) -> Sensitivities:
        return Sensitivities(
            model_hash=self.replay.adm.source_hash,
            measure=measure,
            calibration=self.calibration,
            errors=errors,
        )


def _alone(scheme: LayerScheme) -> LayerScheme:
    weight = scheme.weight
    if weight is None or weight.rounding is not Rounding.BRECQ:
        return scheme
    return replace(scheme, weight=replace(weight, rounding=Rounding.GPTQ))


@contextmanager
def _standing_in(parts: Mapping[str, nn.Module], name: str, layer: nn.Module) -> Iterator[None]:
    """Put another layer in a layer's place, and the layer back afterwards, whatever happens."""
    original = get_layer(parts, name)
    set_layer_(parts, name, layer)
    try:
        yield
    finally:
        set_layer_(parts, name, original)
