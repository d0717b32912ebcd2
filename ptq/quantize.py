"""Quantizes a model in place, once everything that could go wrong has been checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from ptq.activation import ActivationQuantizer
from ptq.algorithms import quantize_weight
from ptq.algorithms.bias_correction import corrected_bias
from ptq.errors import CalibrationError, Cancelled, LayerError
from ptq.layer_spec import LayerInfo, LayerKind, LayerSpec, group_basis
from ptq.layers import get_layer, inventory, set_layer_
from ptq.modules import quantized_layer
from ptq.observers import CalibrationStats
from ptq.plan import QuantPlan
from ptq.quantized_layer import Corrections, QuantizedLayer, channel_axis
from ptq.ranges import static_qparams
from ptq.rounding_target import rounding_target
from ptq.scheme import Balance
from ptq.spelling import nearest_layers
from ptq.weights import QuantizedWeight, to_rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """What a plan needs beside the model itself.

    Attributes:
        stats: observed statistics by layer, for static ranges, balanced channels and biases.
        weights: codes that a method such as GPTQ has chosen already, by layer.
    """

    stats: CalibrationStats = field(default_factory=dict)
    weights: Mapping[str, QuantizedWeight] = field(default_factory=dict)


def quantize_(
    parts: Mapping[str, nn.Module],
    plan: QuantPlan,
    stats: CalibrationStats | None = None,
    *,
    weights: Mapping[str, QuantizedWeight] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Mapping[str, nn.Module]:
    """Replace the layers that ``plan`` changes, and return ``parts``.

    The whole plan is checked and every weight quantized before the first layer is replaced: after
    an error the model is as it was.

    Args:
        parts: the models of a pipeline by name, in floating point.
        plan: resolved for the inventory of these parts.
        stats: observed statistics by layer name; static activation ranges, balanced channels and
            corrected biases need them.
        weights: codes chosen by another method than rounding to nearest, by layer name.
        should_stop: asked before each layer.

    Raises:
        LayerError: for a layer that is missing or that the plan does not fit.
        CalibrationError: for static activations or corrected biases without statistics that fit,
            and for weights that are rounded by data without codes.
        Cancelled: when ``should_stop`` said so.
    """
    prepared = Prepared(stats=stats or {}, weights=weights or {})
    infos = check_plan(parts, plan)
    for spec in plan.quantized:
        activation = spec.scheme.activation
        if activation is not None and activation.is_static:
            _check_stats(spec, prepared.stats)
        weight = spec.scheme.weight
        if weight is not None and weight.rounding.needs_data and spec.name not in prepared.weights:
            raise CalibrationError(
                f"{spec.name} is to be rounded by {weight.rounding} but its codes are missing; pass"
                " those of ptq.calibration.rounding.rounded_weights."
            )
    replacements: dict[str, QuantizedLayer] = {}
    for spec in plan.quantized:
        if should_stop is not None and should_stop():
            raise Cancelled(f"quantization stopped before {spec.name}; the model is unchanged.")
        replacements[spec.name] = quantize_layer(parts, spec, infos[spec.name], prepared)
    for name, replacement in replacements.items():
        set_layer_(parts, name, replacement)
    return parts


def check_plan(parts: Mapping[str, nn.Module], plan: QuantPlan) -> dict[str, LayerInfo]:
    """Return the layers of ``parts`` by name if every spec of ``plan`` fits its layer.

    Raises:
        LayerError: for a layer that is missing or that its spec does not fit.
    """
    splits = {spec.name: spec.split for spec in plan.quantized if spec.split is not None}
    infos = {info.name: info for info in inventory(parts, splits)}
    for spec in plan.quantized:
        if spec.name not in infos:
            raise LayerError(
                f"plan '{plan.name}' names the layer '{spec.name}', which is missing or already"
                f" quantized; {_suggest(spec.name, infos)}."
            )
        _check_weight(spec, infos[spec.name])
    return infos


def make_quantizer(
    spec: LayerSpec, kind: LayerKind, stats: CalibrationStats
) -> ActivationQuantizer | None:
    """Return the input quantizer of a layer, ``None`` where activations are kept."""
    scheme = spec.scheme.activation
    if scheme is None or not scheme.quantizes:
        return None
    table = static_qparams(stats[spec.name], scheme) if scheme.is_static else None
    return ActivationQuantizer(
        scheme, channel_axis=channel_axis(kind), split=spec.split, table=table
    )


def quantize_layer(
    parts: Mapping[str, nn.Module], spec: LayerSpec, info: LayerInfo, prepared: Prepared
) -> QuantizedLayer:
    """Return what stands in for one layer of ``parts``, which stay as they are.

    Raises:
        CalibrationError: for statistics that it needs and that are missing, or were measured on
            inputs evened out in another way.
    """
    source, scheme = get_layer(parts, spec.name), spec.scheme.weight
    _check_balance(spec, prepared.stats)
    quantizer = make_quantizer(spec, info.kind, prepared.stats)
    if scheme is None:
        return quantized_layer(source, weight=None, input_quantizer=quantizer)
    rows = weight_rows(source, info)
    target = rounding_target(rows, scheme, info, prepared.stats)
    weight = prepared.weights.get(spec.name)
    if weight is None:
        weight = quantize_weight(target.rows, scheme, info.columns)
    bias = None
    if scheme.debias:
        bias = _corrected_bias(source, info, target.rows - weight.dequantize(), prepared.stats)
    return quantized_layer(
        source,
        weight=weight,
        input_quantizer=quantizer,
        corrections=Corrections(balance=target.balance, branch=target.branch, bias=bias),
    )


def _corrected_bias(
    source: nn.Module, info: LayerInfo, error: Tensor, stats: CalibrationStats
) -> Tensor:
    bias = source.bias
    if info.name not in stats or not isinstance(bias, Tensor):
        raise CalibrationError(
            f"{info.name} has no statistics to correct its bias with; calibrate with this plan."
        )
    return corrected_bias(bias.detach(), error, stats[info.name].channel_mean)


def weight_rows(source: nn.Module, info: LayerInfo) -> Tensor:
    """Return the weight of a layer as a matrix, one row for each output channel.

    Raises:
        LayerError: for a layer whose weight is not a tensor.
    """
    weight, groups = source.weight, getattr(source, "groups", 1)
    if not isinstance(weight, Tensor):
        raise LayerError(f"{info.name} has no weight tensor; load its weights first.")
    return to_rows(weight.detach(), info.kind, groups)


def _check_weight(spec: LayerSpec, info: LayerInfo) -> None:
    weight = spec.scheme.weight
    if weight is None:
        return
    if not info.kind.has_weight:
        raise LayerError(f"{spec.name} is {info.kind} and has no weight; plan 'keep' for it.")
    if weight.group_size is not None and group_basis(info) % weight.group_size:
        raise LayerError(
            f"groups of {weight.group_size} do not divide the row of {group_basis(info)} of"
            f" {spec.name}; resolve the rules again for this model."
        )


def _check_balance(spec: LayerSpec, stats: CalibrationStats) -> None:
    """Ranges and means of inputs that were evened out are not those of inputs that were not."""
    weight, activation = spec.scheme.weight, spec.scheme.activation
    is_static = activation is not None and activation.is_static
    if spec.name not in stats or not (is_static or (weight is not None and weight.debias)):
        return
    balanced = weight is not None and weight.balance is not Balance.NONE
    if balanced != bool(stats[spec.name].balance.numel()):
        raise CalibrationError(
            f"{spec.name} was calibrated with{'out' if balanced else ''} balance;"
            " calibrate again with this plan."
        )


def _check_stats(spec: LayerSpec, stats: CalibrationStats) -> None:
    scheme = spec.scheme.activation
    if spec.name not in stats:
        raise CalibrationError(
            f"{spec.name} has static activations but no statistics; calibrate with this plan,"
            " or make its rule dynamic."
        )
    found = stats[spec.name]
    halves = 1 if spec.split is None else 2
    if found.halves != halves:
        raise CalibrationError(
            f"{spec.name} was observed in {found.halves} pieces but the plan has {halves};"
            " calibrate again with the same splits."
        )
    if scheme is not None and found.buckets % scheme.timestep_buckets:
        raise CalibrationError(
            f"{spec.name} was observed in {found.buckets} timestep buckets, which cannot serve"
            f" the {scheme.timestep_buckets} of the plan; calibrate with a multiple of them."
        )


def _suggest(name: str, infos: Mapping[str, LayerInfo]) -> str:
    if not infos:
        return "the model has no quantizable layer"
    return f"the nearest is {nearest_layers(name, infos, count=1)[0]}"
