"""Properties of the affine quantizer."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ptq.affine import (
    QParams,
    choose_qparams,
    dequantize,
    fake_quantize,
    half_ceil,
    quantize,
    sqnr_db,
)

CASES = [(bits, symmetric) for bits in range(2, 9) for symmetric in (True, False)]


def values(seed: int = 0) -> Tensor:
    return torch.randn(16, 64, generator=torch.Generator().manual_seed(seed)) + 0.3


def qparams_of(x: Tensor, bits: int, *, symmetric: bool, half_scale: bool = False) -> QParams:
    low, high = x.aminmax(dim=1, keepdim=True)
    return choose_qparams(low, high, bits=bits, symmetric=symmetric, half_scale=half_scale)


@pytest.mark.parametrize(("bits", "symmetric"), CASES)
def test_fake_quantize_is_idempotent(bits: int, symmetric: bool) -> None:
    x = values()
    q = qparams_of(x, bits, symmetric=symmetric)
    once = fake_quantize(x, q)
    assert torch.equal(fake_quantize(once, q), once)
    assert not torch.equal(once, x)


@pytest.mark.parametrize("half_scale", [True, False])
@pytest.mark.parametrize(("bits", "symmetric"), CASES)
def test_error_is_within_half_a_step(bits: int, symmetric: bool, half_scale: bool) -> None:
    x = values()
    q = qparams_of(x, bits, symmetric=symmetric, half_scale=half_scale)
    error = (fake_quantize(x, q) - x).abs()
    assert (error <= 0.5 * q.scale * (1 + 1e-5)).all()


@pytest.mark.parametrize(("bits", "symmetric"), CASES)
def test_zero_is_exact(bits: int, symmetric: bool) -> None:
    for shift in (0.0, 5.0, -5.0):
        x = values() + shift
        q = qparams_of(x, bits, symmetric=symmetric)
        assert torch.equal(fake_quantize(torch.zeros_like(x), q), torch.zeros_like(x))


@pytest.mark.parametrize(("bits", "symmetric"), CASES)
def test_codes_stand_for_the_fake_quantized_values(bits: int, symmetric: bool) -> None:
    x = values()
    q = qparams_of(x, bits, symmetric=symmetric)
    codes = quantize(x, q)
    assert codes.dtype == (torch.int8 if symmetric else torch.uint8)
    assert int(codes.min()) >= q.quant_min
    assert int(codes.max()) <= q.quant_max
    assert torch.equal(dequantize(codes, q), fake_quantize(x, q))


@pytest.mark.parametrize("symmetric", [True, False])
def test_error_falls_with_bits(symmetric: bool) -> None:
    x = values()
    scores = [
        sqnr_db(x, fake_quantize(x, qparams_of(x, bits, symmetric=symmetric)))
        for bits in range(2, 9)
    ]
    assert all(more > less + 3.0 for less, more in pairwise(scores))


def test_sixteen_bits_are_within_a_thousandth() -> None:
    x = values()
    q = qparams_of(x, 16, symmetric=False)
    assert (fake_quantize(x, q) - x).abs().max() < 1e-3
    assert quantize(x, q).dtype == torch.int32


def test_dtype_is_kept() -> None:
    x = values().half()
    assert fake_quantize(x, qparams_of(x, 8, symmetric=False)).dtype == torch.float16


def test_rows_are_independent() -> None:
    x = values()
    whole = fake_quantize(x, qparams_of(x, 4, symmetric=False))
    rows = [fake_quantize(row, qparams_of(row, 4, symmetric=False)) for row in torch.split(x, 1)]
    assert torch.equal(whole, torch.cat(rows))


def test_constant_and_empty_ranges_have_a_scale() -> None:
    zeros = torch.zeros(3, 4)
    q = qparams_of(zeros, 4, symmetric=False, half_scale=True)
    assert (q.scale > 0).all()
    assert torch.equal(fake_quantize(zeros, q), zeros)


def test_half_ceil_never_rounds_down() -> None:
    scale = torch.rand(10_000, generator=torch.Generator().manual_seed(1)) * 3 + 1e-7
    rounded = half_ceil(scale)
    assert (rounded >= scale).all()
    assert torch.equal(rounded.half().float(), rounded)
    assert (rounded - scale <= torch.clamp(scale * 2.0**-10, min=2.0**-24)).all()
