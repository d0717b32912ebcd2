"""How the command line lists a model's layers."""

from collections.abc import Sequence
from typing import Any

from ptq.layer_spec import LayerInfo
from ptq.plan import QuantPlan
from ptq.report_markdown import table

_FLOAT_BITS = 16


def listed(plan: QuantPlan, layers: Sequence[LayerInfo]) -> tuple[dict[str, Any], str]:
    """What a plan does to each layer, as JSON values and as a table."""
    infos = {info.name: info for info in layers}
    rows: list[dict[str, Any]] = []
    for spec in plan.layers:
        weight, activation = spec.scheme.weight, spec.scheme.activation
        rows.append(
            {
                "name": spec.name,
                "kind": infos[spec.name].kind.value,
                "w_bits": weight.bits if weight else _FLOAT_BITS,
                "a_bits": activation.bits if activation else _FLOAT_BITS,
                "bytes": spec.bytes_stored(infos[spec.name]),
            }
        )
    text = table(tuple(rows[0]), [[str(value) for value in row.values()] for row in rows])
    return {"layers": rows, "size_bytes": plan.size_bytes(layers)}, text
