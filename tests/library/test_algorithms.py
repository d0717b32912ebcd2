"""Range searches against known signal-to-noise ratios, and against each other."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ptq.affine import QParams, fake_quantize, half_ceil, sqnr_db
from ptq.algorithms import hqq, quantize_weight
from ptq.algorithms.hqq import hqq_qparams
from ptq.algorithms.mse import EXPONENT, SHRINKS, mse_qparams
from ptq.algorithms.rtn import rtn_qparams
from ptq.errors import LayerError
from ptq.scheme import Granularity, RangeSearch, WeightScheme

MSE = RangeSearch.MSE
GROUP = Granularity.PER_GROUP


def draw(distribution: str, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(shape, generator=generator)
    if distribution == "normal":
        return normal
    if distribution == "laplace":
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64).clamp(1e-12) - 0.5
        return (-uniform.sign() * torch.log1p(-2 * uniform.abs().clamp(max=0.5 - 1e-12))).float()
    chi_square = torch.randn((5, *shape), generator=generator).square().sum(dim=0)
    return normal / (chi_square / 5).sqrt()


def sqnr(weight: Tensor, scheme: WeightScheme) -> float:
    return sqnr_db(weight, quantize_weight(weight, scheme).dequantize())


def scheme(
    bits: int, group: int | None = None, *, sym: bool = False, mse: bool = False
) -> WeightScheme:
    return WeightScheme(
        bits=bits,
        granularity=GROUP if group else Granularity.PER_CHANNEL,
        group_size=group,
        symmetric=sym,
        range_search=MSE if mse else RangeSearch.MIN_MAX,
    )


CHANNEL_SYM, CHANNEL_ASYM = scheme(4, sym=True), scheme(4)
CHANNEL_SYM_MSE, CHANNEL_ASYM_MSE = scheme(4, sym=True, mse=True), scheme(4, mse=True)


@pytest.mark.parametrize(
    ("distribution", "expected_db", "tolerance_db"),
    [
        ("normal", (16.3, 17.4, 18.8, 19.2, 19.9, 20.8, 21.8), 0.3),
        ("laplace", (12.3, 13.6, 15.5, 15.9, 17.7, 19.0, 20.5), 0.3),
        ("student-t5", (10.0, 11.9, 13.9, 14.5, 17.5, 19.0, 20.6), 0.5),
    ],
)
def test_known_ratios_at_four_bits(
    distribution: str, expected_db: tuple[float, ...], tolerance_db: float
) -> None:
    weight = draw(distribution, 128, 2560)
    schemes = (
        *(CHANNEL_SYM, CHANNEL_ASYM, CHANNEL_SYM_MSE, CHANNEL_ASYM_MSE),
        *(scheme(4, 128), scheme(4, 64), scheme(4, 32)),
    )
    found_db = [sqnr(weight, each) for each in schemes]
    assert found_db == pytest.approx(expected_db, abs=tolerance_db)


def test_known_ratios_at_eight_bits() -> None:
    weight = draw("normal", 128, 2560)
    schemes = (scheme(8, sym=True), scheme(8), scheme(8, 128), scheme(8, 64), scheme(8, 32))
    found_db = [sqnr(weight, each) for each in schemes]
    assert found_db == pytest.approx((41.5, 42.0, 44.6, 45.4, 46.5), abs=0.3)


def test_per_channel_beats_per_tensor_on_uneven_rows() -> None:
    weight = draw("normal", 32, 64) * torch.logspace(-2, 1, 32).unsqueeze(1)
    tensor = WeightScheme(bits=8, granularity=Granularity.PER_TENSOR)
    channel = WeightScheme(bits=8)
    quiet = weight[:8]
    assert sqnr_db(quiet, quantize_weight(weight, channel).dequantize()[:8]) > 10 + sqnr_db(
        quiet, quantize_weight(weight, tensor).dequantize()[:8]
    )
    assert sqnr(weight, channel) > sqnr(weight, tensor)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_pruned_search_equals_the_full_one(bits: int, symmetric: bool) -> None:
    rows = draw("laplace", 64, 48)
    start = rtn_qparams(rows, bits=bits, symmetric=symmetric)
    losses = []
    for shrink in SHRINKS:
        shrunk = QParams(
            scale=half_ceil(start.scale * shrink),
            zero_point=start.zero_point,
            quant_min=start.quant_min,
            quant_max=start.quant_max,
        )
        error = (fake_quantize(rows, shrunk) - rows).abs()
        losses.append(error.double().pow(EXPONENT).sum(dim=1))
    found = mse_qparams(rows, bits=bits, symmetric=symmetric)
    loss = (fake_quantize(rows, found) - rows).abs().double().pow(EXPONENT).sum(dim=1)
    assert torch.allclose(loss, torch.stack(losses).amin(dim=0), rtol=1e-3)
    assert (loss <= losses[0] * (1 + 1e-4)).all()


def test_chunks_do_not_change_the_search() -> None:
    rows = draw("normal", 4200, 32)
    whole = mse_qparams(rows, bits=4, symmetric=False).scale
    assert torch.equal(whole[-7:], mse_qparams(rows[-7:], bits=4, symmetric=False).scale)


def sparsity(rows: Tensor, found: QParams) -> Tensor:
    """HQQ's own measure, row by row."""
    return (fake_quantize(rows, found) - rows).abs().double().pow(hqq.EXPONENT).sum(dim=1)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("distribution", ["normal", "laplace", "student-t5"])
def test_hqq_loses_to_no_range_that_it_begins_with_in_its_own_measure(
    distribution: str, symmetric: bool
) -> None:
    rows = draw(distribution, 64, 512)
    full = rtn_qparams(rows, bits=4, symmetric=symmetric)
    found = hqq_qparams(rows, bits=4, symmetric=symmetric)
    assert (sparsity(rows, found) <= sparsity(rows, full) * (1 + 1e-3)).all()
    assert (found.scale <= full.scale).all()
    if distribution == "student-t5":
        assert float(sparsity(rows, found).sum()) < 0.8 * float(sparsity(rows, full).sum())
    # The splitting itself must gain something over the best of the scales that it is begun with.
    begun = [
        sparsity(rows, replace(full, scale=full.scale * share))
        for share in (1.0, 0.7, 0.5, 0.35, 0.2)
    ]
    best = torch.stack(begun).amin(dim=0)
    assert float(sparsity(rows, found).sum()) < 0.995 * float(best.sum())


def test_hqq_gives_up_a_few_outliers_for_the_many() -> None:
    rows = draw("normal", 8, 256)
    rows[:, 0] = 40.0
    found = hqq_qparams(rows, bits=4, symmetric=False)
    full = rtn_qparams(rows, bits=4, symmetric=False)
    errors = [(fake_quantize(rows, q) - rows).abs()[:, 1:].median() for q in (found, full)]
    assert errors[0] < 0.5 * errors[1]


def test_hqq_pays_with_squared_error_where_tails_are_light() -> None:
    rows = draw("normal", 8, 512)
    found = hqq_qparams(rows, bits=4, symmetric=False)
    full = rtn_qparams(rows, bits=4, symmetric=False)
    errors = [(fake_quantize(rows, grid) - rows).square().mean() for grid in (found, full)]
    assert errors[0] > 1.2 * errors[1]


def test_hqq_is_the_same_for_a_layer_a_thousand_times_as_loud() -> None:
    rows = draw("laplace", 8, 256)
    quiet = hqq_qparams(rows, bits=4, symmetric=True).scale
    loud = hqq_qparams(rows * 1024.0, bits=4, symmetric=True).scale
    assert torch.allclose(quiet * 1024.0, loud, rtol=2e-3)


@pytest.mark.parametrize("search", [RangeSearch.MIN_MAX, MSE, RangeSearch.HQQ])
def test_scales_are_exact_in_float16(search: RangeSearch) -> None:
    result = quantize_weight(draw("normal", 8, 64), WeightScheme(bits=4, range_search=search))
    assert result.scale.dtype == torch.float16
    assert result.codes.dtype == torch.int8
    assert int(result.codes.abs().max()) <= 7


def test_halves_of_a_split_have_scales_of_their_own() -> None:
    loud, quiet = draw("normal", 16, 32), draw("normal", 16, 48) * 0.01
    weight = torch.cat([loud, quiet], dim=1)
    tensor = WeightScheme(bits=8, granularity=Granularity.PER_TENSOR)
    split = quantize_weight(weight, tensor, (32, 48))
    shared = quantize_weight(weight, tensor)
    assert split.scale.shape == (1, 2)
    gain_db = sqnr_db(quiet, split.dequantize()[:, 32:]) - sqnr_db(
        quiet, shared.dequantize()[:, 32:]
    )
    assert gain_db >= 10.0


def test_bad_weights_are_refused() -> None:
    weight = draw("normal", 4, 48)
    with pytest.raises(LayerError, match="groups of 32"):
        quantize_weight(weight, scheme(4, 32))
    weight[1, 1] = torch.nan
    with pytest.raises(LayerError, match="not finite"):
        quantize_weight(weight, scheme(4))
