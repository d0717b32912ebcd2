"""Chooses the codes of the weights whose rounding looks at what the layers are given."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ptq.algorithms import quantize_weight
from ptq.algorithms.gptq import gptq_codes
from ptq.calibration.moments import observe_moments
from ptq.calibration.replay import Replay
from ptq.errors import Cancelled
from ptq.layer_spec import LayerInfo, LayerSpec
from ptq.layers import get_layer, inventory
from ptq.plan import QuantPlan
from ptq.quantize import weight_rows
from ptq.scheme import Rounding, WeightScheme
from ptq.weights import QuantizedWeight

# Moments that are held at once; what does not fit takes another replay.
_BYTES = 2 << 30
_FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class _Site:
    info: LayerInfo
    scheme: WeightScheme


def rounds_by_data(spec: LayerSpec) -> bool:
    """Whether the codes of a layer depend on calibration."""
    weight = spec.scheme.weight
    return weight is not None and weight.rounding is Rounding.GPTQ


def rounded_weights(
    replay: Replay, plan: QuantPlan, *, most_bytes: int = _BYTES
) -> dict[str, QuantizedWeight]:
    """Return the codes of every layer that the plan rounds with GPTQ, by layer name.

    Args:
        replay: The full-precision model, and the states that it is calibrated on.
        plan: Resolved for this model.
        most_bytes: What the second moments may take at once; states are replayed as often as
            this demands, and one layer is always taken.

    Raises:
        Cancelled: As soon as the replay is told to stop.
    """
    parts = replay.adm.parts()
    infos = {info.name: info for info in inventory(parts, replay.adm.splits())}
    sites = [
        _Site(info=infos[spec.name], scheme=spec.scheme.weight)
        for spec in plan.quantized
        if spec.scheme.weight is not None and rounds_by_data(spec)
    ]
    found: dict[str, QuantizedWeight] = {}
    for batch in _batches(sites, most_bytes):
        moments = observe_moments(replay, [site.info for site in batch])
        for site in batch:
            if replay.should_stop():
                raise Cancelled(f"Stopped before {site.info.name} was rounded.")
            rows = weight_rows(get_layer(parts, site.info.name), site.info)
            start = quantize_weight(rows, site.scheme, site.info.columns)
            found[site.info.name] = gptq_codes(rows, start, site.scheme, moments[site.info.name])
    return found


def _batches(sites: Sequence[_Site], most_bytes: int) -> Iterator[list[_Site]]:
    batch: list[_Site] = []
    held = 0
    for site in sites:
        size = site.info.row**2 * _FLOAT_BYTES
        if batch and held + size > most_bytes:
            yield batch
            batch, held = [], 0
        batch.append(site)
        held += size
    if batch:
        yield batch
