"""The affine quantizer: scale, zero point, and the way to integers and back.

Asymmetric: s = (hi − lo) / (2^b − 1), z = round(−lo / s), q = clamp(round(x / s) + z, 0, 2^b − 1).
Symmetric: s = max|x| / (2^(b−1) − 1), z = 0, |q| ≤ 2^(b−1) − 1. Both reconstruct x̂ = s (q − z), in
float32, and both represent zero exactly, because the range always includes it.

Scales broadcast: a shape of () serves a tensor, (channels, 1) a row each, (…, 1) a token each.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_SMALLEST_SCALE = 2.0**-24  # the smallest positive float16


@dataclass(frozen=True, kw_only=True)
class QParams:
    """What an affine quantizer needs to know.

    Attributes:
        scale: positive, float32, broadcasts against the values.
        zero_point: whole numbers as float32, the code of zero, same shape as ``scale``.
        quant_min: smallest code.
        quant_max: largest code.
    """

    scale: Tensor
    zero_point: Tensor
    quant_min: int
    quant_max: int


def code_limits(bits: int, *, symmetric: bool) -> tuple[int, int]:
    """Return the smallest and the largest code."""
    if symmetric:
        return 1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def half_ceil(scale: Tensor) -> Tensor:
    """Round positive float32 values up to float16, and return them as float32.

    Up, so that no value falls out of the range that the scale was made for.
    """
    half = scale.half()
    above = (half.view(torch.int16) + 1).view(torch.float16)
    return torch.where(half.float() < scale, above, half).float()


def choose_qparams(
    low: Tensor, high: Tensor, *, bits: int, symmetric: bool, half_scale: bool = False
) -> QParams:
    """Return the quantizer of the range from ``low`` to ``high``, widened to include zero.

    Args:
        low: smallest values, any shape.
        high: largest values, same shape.
        bits: 2 to 16.
        symmetric: levels on both sides of zero and no zero point, else affine.
        half_scale: round scales up to float16 first, so that a file of float16 scales is exact.
    """
    low, high = low.float().clamp(max=0.0), high.float().clamp(min=0.0)
    quant_min, quant_max = code_limits(bits, symmetric=symmetric)
    width = torch.maximum(-low, high) if symmetric else high - low
    scale = (width / (quant_max if symmetric else quant_max - quant_min)).clamp(min=_SMALLEST_SCALE)
    if half_scale:
        scale = half_ceil(scale)
    zero_point = torch.zeros_like(scale)
    if not symmetric:
        zero_point = torch.round(-low / scale).clamp(quant_min, quant_max)
    return QParams(scale=scale, zero_point=zero_point, quant_min=quant_min, quant_max=quant_max)


def _to_grid(values: Tensor, qparams: QParams) -> Tensor:
    grid = values.float() / qparams.scale
    return grid.round_().add_(qparams.zero_point).clamp_(qparams.quant_min, qparams.quant_max)


def quantize(values: Tensor, qparams: QParams) -> Tensor:
    """Return integer codes: int8 or uint8 where they fit, else int32."""
    codes = _to_grid(values, qparams)
    if qparams.quant_min >= -128 and qparams.quant_max <= 127 and qparams.quant_min < 0:
        return codes.to(torch.int8)
    return codes.to(torch.uint8 if qparams.quant_max <= 255 else torch.int32)


def dequantize(codes: Tensor, qparams: QParams) -> Tensor:
    """Return the float32 values that integer codes stand for."""
    return (codes.float() - qparams.zero_point) * qparams.scale


def fake_quantize(values: Tensor, qparams: QParams) -> Tensor:
    """Quantize and dequantize; the result has the dtype of ``values``."""
    grid = _to_grid(values, qparams)
    return grid.sub_(qparams.zero_point).mul_(qparams.scale).to(values.dtype)


def along(per_channel: Tensor, values: Tensor, axis: int) -> Tensor:
    """Shape one number a channel so that it broadcasts against values along their channel axis."""
    shape = [1] * values.ndim
    shape[axis] = len(per_channel)
    return per_channel.reshape(shape)


def relative_error(reference: Tensor, estimate: Tensor) -> float:
    """Return ‖x − x̂‖² / ‖x‖²; 0/0 is NaN."""
    reference, estimate = reference.detach().double(), estimate.detach().double()
    return float((reference - estimate).square().sum() / reference.square().sum())


def sqnr_db(reference: Tensor, estimate: Tensor) -> float:
    """Return the signal-to-quantization-noise ratio, 10 log10(‖x‖² / ‖x − x̂‖²), in dB."""
    reference, estimate = reference.detach().double(), estimate.detach().double()
    signal, noise = reference.square().sum(), (reference - estimate).square().sum()
    return float(10.0 * torch.log10(signal / noise))
