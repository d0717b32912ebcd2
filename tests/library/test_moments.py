"""Second moments of what layers multiply their weights with."""

import pytest
import torch
from torch import Tensor, nn

from ptq.calibration.moments import MomentObserver, input_rows
from ptq.errors import CalibrationError
from ptq.layer_spec import LayerKind
from ptq.layers import inventory, layer_kind


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(6, 5), (2, 7, 6)),
        (nn.Conv1d(4, 5, 3, padding=1, stride=2), (2, 4, 9)),
        (nn.Conv1d(4, 5, 5, padding="same"), (2, 4, 9)),
        (nn.Conv2d(4, 5, (3, 2), padding=(1, 0), dilation=(2, 1)), (2, 4, 9, 8)),
        (nn.Conv2d(4, 5, 3, padding=1, padding_mode="reflect", stride=(2, 1)), (2, 4, 9, 8)),
        (nn.Conv2d(4, 5, 1), (2, 4, 3, 3)),
    ],
    ids=repr,
)
def test_the_rows_of_an_input_times_the_weight_are_the_output(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    kind = layer_kind(layer)
    assert kind is not None
    rows = input_rows(layer, kind, values)
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    product = rows @ weight.reshape(len(weight), -1).T + bias
    output = layer(values)
    flat = output if isinstance(layer, nn.Linear) else output.movedim(1, -1)
    assert torch.allclose(product, flat.reshape(-1, 5), atol=1e-5)


def test_many_positions_are_thinned_evenly() -> None:
    """A power of two as stride would see one column of a spectrogram, whose edge is padding."""
    layer = nn.Conv2d(2, 3, 3, padding=1)
    info = inventory({"denoiser": nn.Sequential(layer)})[0]
    values = torch.randn((3, 2, 256, 16), generator=torch.Generator().manual_seed(2))
    thinned = MomentObserver(layer, info)
    thinned(values)
    rows = input_rows(layer, LayerKind.CONV2D, values)
    exact = rows.T @ rows / len(rows)
    found = thinned.result()
    assert (found - exact).abs().max() < 0.2 * exact.diagonal().mean()
    assert found.diagonal().min() > 0.5


@pytest.mark.parametrize("shape", [(2, 700, 300), (9, 40, 300), (5, 300)])
def test_the_moment_of_a_wide_layer_is_whole_and_symmetric(shape: tuple[int, ...]) -> None:
    layer = nn.Linear(300, 2)
    observer = MomentObserver(layer, inventory({"denoiser": nn.Sequential(layer)})[0])
    values = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    observer(values)
    found = observer.result()
    assert torch.equal(found, found.T)
    if values.shape[1] <= 300:  # nothing is left out
        rows = values.reshape(-1, 300)
        assert torch.allclose(found, rows.T @ rows / len(rows), atol=1e-5)


def test_a_layer_without_data_is_named_as_such() -> None:
    parts = {"denoiser": nn.Sequential(nn.Linear(4, 4))}
    observer = MomentObserver(parts["denoiser"][0], inventory(parts)[0])
    with pytest.raises(CalibrationError, match="round its weight to nearest"):
        observer.result()
    observer(torch.full((3, 4), torch.nan))
    with pytest.raises(CalibrationError, match="not finite"):
        observer.result()
