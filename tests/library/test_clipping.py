"""What static ranges cut off is counted while clips are generated, and only then."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ptq.activation import ActivationQuantizer
from ptq.adms.audioldm import AudioLDM
from ptq.affine import choose_qparams
from ptq.clipping import PARTS, Clipping, ClippingMeter, clippings, read_counts
from ptq.context import StepContext, step_context
from ptq.errors import Cancelled
from ptq.modules import QuantLinear
from ptq.scheme import ActivationScheme
from ptq.stages import QUANTIZED
from ptq.study import run_folder_of, run_study
from tests.studies import CONFIG, NO_EAR

LAYER = "denoiser.0"


def _model(split: int | None = None) -> nn.Sequential:
    """A layer that takes values from 0 to 2.55 in steps of 0.01; of halves, the second up to 25."""
    tops = torch.tensor([[2.55]] if split is None else [[2.55], [25.5]])
    quantizer = ActivationQuantizer(
        ActivationScheme(bits=8),
        channel_axis=-1,
        split=split,
        table=choose_qparams(torch.zeros_like(tops), tops, bits=8, symmetric=False),
    )
    return nn.Sequential(QuantLinear(nn.Linear(4, 2), weight=None, input_quantizer=quantizer))


def _run(model: nn.Module, values: list[float], step: int) -> None:
    with step_context(StepContext(step=step, n_steps=20, t=0.0)):
        model(torch.tensor([values]))


def test_values_beyond_the_range_are_counted_by_their_tenth() -> None:
    model = _model()
    meter = ClippingMeter({"denoiser": model})
    with meter.watching():
        _run(model, [0.0, 1.0, 2.55, 2.5549], step=0)  # all within half a step
        _run(model, [-0.1, 1.0, 2.6, 9.0], step=18)
        _run(model, [1.0, 1.0, 1.0, 9.0], step=19)
    _run(model, [9.0, 9.0, 9.0, 9.0], step=19)  # nobody looks
    counts = meter.taken()
    assert counts[LAYER]["seen"] == [4, *[0] * (PARTS - 2), 8]
    assert counts[LAYER]["beyond"] == [*[0] * (PARTS - 1), 4]
    assert clippings(counts) == {LAYER: Clipping(layer=LAYER, part=9, share_pct=50.0)}
    assert meter.taken() == {}, "what was told is not told again"
    assert clippings({LAYER: {"beyond": [0] * PARTS, "seen": [0] * PARTS}}) == {}


def test_each_half_has_its_own_range() -> None:
    model = _model(split=2)
    meter = ClippingMeter({"denoiser": model})
    with meter.watching():
        _run(model, [3.0, 1.0, 3.0, 26.0], step=0)
    assert meter.taken()[LAYER]["beyond"][0] == 2, "the first by one range, the last by the other"


def test_what_runs_once_is_counted_as_one_part() -> None:
    model = _model()
    meter = ClippingMeter({"denoiser": model})
    with meter.watching():
        model(torch.full((1, 4), 3.0))
    assert meter.taken()[LAYER]["beyond"] == [4, *[0] * (PARTS - 1)]


def test_a_study_that_is_stopped_counts_no_batch_twice(tiny_adm: AudioLDM, tmp_path: Path) -> None:
    whole = run_study(CONFIG, tiny_adm, runs=tmp_path / "whole", ear=NO_EAR)
    runs = tmp_path / "stopped"
    folder = run_folder_of(CONFIG, tiny_adm, runs)

    def stopped() -> bool:
        return any((folder.path / QUANTIZED).glob("*.flac"))

    with pytest.raises(Cancelled):
        run_study(CONFIG, tiny_adm, runs=runs, ear=NO_EAR, should_stop=stopped)
    half = read_counts(folder, QUANTIZED)
    resumed = run_study(CONFIG, tiny_adm, runs=runs, ear=NO_EAR)
    counts = read_counts(folder, QUANTIZED)
    name = "denoiser.conv_in"
    assert 0 < sum(half[name]["seen"]) < sum(counts[name]["seen"])
    assert resumed.layers == whole.layers
    told = {layer.name: layer.clipped_pct for layer in whole.layers}
    assert told[name] == clippings(counts)[name].share_pct
    assert {layer for layer, pct in told.items() if pct is not None} == counts.keys()
