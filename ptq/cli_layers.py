"""How the command line lists a model's layers."""

from collections.abc import Sequence
from typing import Any

from ptq.layer_spec import LayerInfo
from ptq.plan import QuantPlan
from ptq.report_markdown import table


def listed(plan: QuantPlan, layers: Sequence[LayerInfo]) -> tuple[dict[str, Any], str]:
    """What a plan does to each layer, as JSON values and as a table."""
    rows = plan.rows(layers)
    text = table(tuple(rows[0]), [[str(value) for value in row.values()] for row in rows])
    return {"layers": rows, "size_bytes": plan.size_bytes(layers)}, text
