"""AdaRound: starts at the weight itself, ends at hard choices, and helps the output."""

import pytest
import torch
from torch import Tensor

from ptq.algorithms import quantize_weight
from ptq.algorithms.adaround import SoftCodes, _train, adaround_codes
from ptq.scheme import Granularity, WeightScheme
from ptq.weights import output_error

COLUMNS = 96
SCHEMES = [
    WeightScheme(bits=4),
    WeightScheme(bits=3, granularity=Granularity.PER_GROUP, group_size=32, symmetric=False),
]


def weight_and_moment() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn((24, COLUMNS), generator=generator)
    inputs = torch.randn((800, 16), generator=generator) @ torch.randn(
        (16, COLUMNS), generator=generator
    )
    inputs += 0.2 * torch.randn(inputs.shape, generator=generator)
    return weight, inputs.T @ inputs / len(inputs)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_soft_codes_stand_for_the_weight_at_first(scheme: WeightScheme) -> None:
    weight, _ = weight_and_moment()
    start = quantize_weight(weight, scheme)
    soft = SoftCodes(weight, start, scheme)
    difference = (soft.weight().detach() - weight).abs()
    assert difference.median() < 1e-3
    # A zero point is a whole number, so that a range may end half a step too early.
    assert float(difference.max()) <= 0.51 * float(start.scale.max())
    assert torch.equal(soft.hard().to(start.codes.dtype), start.codes)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_training_decides_and_nothing_is_lost_by_deciding(scheme: WeightScheme) -> None:
    weight, moment = weight_and_moment()
    start = quantize_weight(weight, scheme)
    soft = SoftCodes(weight, start, scheme)
    _train(soft, weight, moment, 400, lambda: None)
    shares = soft.shares().detach()
    assert float(((shares < 0.02) | (shares > 0.98)).float().mean()) > 0.97
    found = adaround_codes(weight, start, scheme, moment, 400)
    gap = (soft.weight().detach() - found.dequantize()).square().sum() / weight.square().sum()
    assert gap < 0.01


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_it_wins_in_the_output_with_neighbouring_codes(scheme: WeightScheme) -> None:
    weight, moment = weight_and_moment()
    start = quantize_weight(weight, scheme)
    found = adaround_codes(weight, start, scheme, moment)
    before, after = (output_error(weight, w.dequantize(), moment) for w in (start, found))
    assert after.sum() < 0.7 * before.sum()
    assert (found.codes.int() - start.codes.int()).abs().max() == 1
    assert torch.equal(found.scale, start.scale)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_no_output_gets_worse_by_training_that_fails(
    scheme: WeightScheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptq.algorithms.adaround._RATE", 50.0)
    weight, moment = weight_and_moment()
    start = quantize_weight(weight, scheme)
    found = adaround_codes(weight, start, scheme, moment, iterations=1)
    before, after = (output_error(weight, w.dequantize(), moment) for w in (start, found))
    assert (after <= before).all()
