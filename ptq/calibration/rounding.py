"""Chooses the codes of the weights whose rounding looks at what the layers are given."""

from typing import assert_never

from torch import Tensor

from ptq.adms.sampling import ShouldStop, never_stop
from ptq.algorithms import quantize_weight
from ptq.algorithms.adaround import adaround_codes
from ptq.algorithms.gptq import gptq_codes
from ptq.calibration.blocks import Reconstruction
from ptq.calibration.moments import MOST_BYTES, each_moment
from ptq.calibration.replay import Replay
from ptq.errors import Cancelled
from ptq.layer_spec import LayerInfo, LayerSpec
from ptq.layers import get_layer, inventory
from ptq.observers import CalibrationStats
from ptq.plan import QuantPlan
from ptq.quantize import weight_rows
from ptq.rounding_target import RoundingTarget, rounding_target
from ptq.scheme import Rounding, WeightScheme
from ptq.weights import QuantizedWeight


def rounds_by_data(spec: LayerSpec) -> bool:
    """Whether the codes of a layer depend on what calibration saw."""
    weight = spec.scheme.weight
    return weight is not None and weight.rounding.needs_data


def rounded_weight(
    target: RoundingTarget,
    scheme: WeightScheme,
    info: LayerInfo,
    moment: Tensor,
    should_stop: ShouldStop = never_stop,
) -> QuantizedWeight:
    """Quantize one weight, and round it as its scheme says.

    Args:
        target: what the codes have to stand for.
        scheme: with a concrete group size if it is per group.
        info: the layer.
        moment: second moment of the layer's input (columns, columns).
        should_stop: asked before every step of a training.

    Raises:
        Cancelled: As soon as ``should_stop`` says so.
    """

    def go_on() -> None:
        if should_stop():
            raise Cancelled(f"Stopped while {info.name} was rounded.")

    start = quantize_weight(target.rows, scheme, info.columns)
    match scheme.rounding:
        case Rounding.NEAREST:
            return start
        # What BRECQ begins with; layers that are in no block stay with it.
        case Rounding.GPTQ | Rounding.BRECQ:
            return gptq_codes(target.rows, start, scheme, target.moment(moment))
        case Rounding.ADAROUND:
            seen = target.moment(moment)
            return adaround_codes(target.rows, start, scheme, seen, on_step=go_on)
        case other:
            assert_never(other)


def rounded_weights(
    replay: Replay,
    plan: QuantPlan,
    stats: CalibrationStats | None = None,
    *,
    most_bytes: int = MOST_BYTES,
) -> dict[str, QuantizedWeight]:
    """Return the codes of every layer that the plan rounds by data, by layer name.

    Args:
        replay: The full-precision model, and the states that it is calibrated on.
        plan: Resolved for this model.
        stats: Hold what input channels are divided by, where the plan balances them.
        most_bytes: What the second moments may take at once.

    Raises:
        Cancelled: As soon as the replay is told to stop.
    """
    parts = replay.adm.parts()
    infos = {info.name: info for info in inventory(parts, replay.adm.splits())}
    schemes = {
        spec.name: spec.scheme.weight
        for spec in plan.quantized
        if spec.scheme.weight is not None and rounds_by_data(spec)
    }
    found = dict[str, QuantizedWeight]()
    for info, moment in each_moment(replay, [infos[name] for name in schemes], most_bytes):
        if replay.should_stop():
            raise Cancelled(f"Stopped before {info.name} was rounded.")
        rows, scheme = weight_rows(get_layer(parts, info.name), info), schemes[info.name]
        target = rounding_target(rows, scheme, info, stats or {})
        found[info.name] = rounded_weight(target, scheme, info, moment, replay.should_stop)
    learnt = [infos[n] for n, scheme in schemes.items() if scheme.rounding is Rounding.BRECQ]
    reconstruct = Reconstruction(replay=replay, stats=stats or {}, seed=plan.seed)
    return found | reconstruct(learnt, schemes, found)
