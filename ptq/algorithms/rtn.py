"""Round to nearest within minimum and maximum: no search, no data, the baseline of the field."""

from torch import Tensor

from ptq.affine import QParams, choose_qparams


def rtn_qparams(rows: Tensor, *, bits: int, symmetric: bool) -> QParams:
    """Return the scale of the full range of each row of ``rows`` (rows, columns)."""
    low, high = rows.aminmax(dim=1, keepdim=True)
    return choose_qparams(low, high, bits=bits, symmetric=symmetric, half_scale=True)
