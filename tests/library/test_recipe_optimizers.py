"""The recipe's optimizer: Muon where a weight is a matrix, whatever its memory layout."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from assets.recipe.optimizers import MatrixOptimizer
from assets.recipe.training import Training, TrainingSettings

LR = 0.01


def optimizer_of(module: nn.Module) -> MatrixOptimizer:
    return MatrixOptimizer(module, lr=LR, betas=(0.9, 0.99), weight_decay=0.0)


def small() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(32, 48, 3), nn.ReLU(), nn.Conv2d(48, 4, 1))


def stepped(model: nn.Module, images: Tensor) -> nn.Module:
    optimizer = optimizer_of(model)
    for _ in range(2):
        optimizer.zero_grad()
        (model(images) ** 2).mean().backward()
        optimizer.step()
    return model


def test_memory_layout_changes_nothing() -> None:
    images = torch.randn(2, 32, 6, 6, generator=torch.Generator().manual_seed(0))
    plain = stepped(small(), images)
    last = small()
    for weight in (w for w in last.parameters() if w.ndim > 1):
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    stepped(last, images)
    start = small().state_dict()
    for (name, a), b in zip(plain.named_parameters(), last.parameters(), strict=True):
        moved = (a - start[name]).norm()
        # Muon computes in bfloat16, here in another order of columns.
        assert moved > 0
        assert (a - b).norm() < 0.15 * moved, name


def test_matrix_steps_equally_far_in_every_direction() -> None:
    layer = nn.Linear(64, 64, bias=False)
    before = layer.weight.detach().clone()
    # One direction's gradient is a thousand times another's.
    scales = torch.logspace(0, -3, 64)
    layer.weight.grad = torch.diag(scales)
    optimizer_of(layer).step()
    moved = torch.linalg.svdvals(before - layer.weight.detach())
    assert moved[48] > 0.5 * moved[0]


@pytest.mark.parametrize("module", [nn.Embedding(50, 40), nn.Linear(64, 4), nn.LayerNorm(40)])
def test_everything_else_steps_as_adamw(module: nn.Module) -> None:
    weight = next(module.parameters())
    before = weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    optimizer_of(module).step()
    # Adam's first step is the learning rate, whatever the gradient.
    assert torch.allclose(before - weight.detach(), torch.full_like(weight, LR), rtol=1e-3)


def test_a_named_matrix_is_left_to_adamw_and_a_frozen_one_alone() -> None:
    layers = (nn.Linear(40, 40), nn.Linear(40, 40).requires_grad_(requires_grad=False))
    pair, named, frozen = nn.Sequential(*layers), layers[0].weight, layers[1].weight
    before = (named.detach().clone(), frozen.clone())
    named.grad = torch.ones_like(named)
    MatrixOptimizer(
        pair, lr=LR, betas=(0.9, 0.99), weight_decay=0.5, elementwise=["0.weight"]
    ).step()
    step = before[0] * (1 - LR * 0.5) - named.detach()
    assert torch.allclose(step, torch.full_like(named, LR), rtol=1e-3)
    assert torch.equal(frozen, before[1])


class PowerCutError(Exception):
    """The training ends here."""


def test_training_resumes_as_if_uninterrupted(tmp_path: Path) -> None:
    def trained(folder: Path, stop_at: int | None = None) -> nn.Module:
        torch.manual_seed(1)
        layer = nn.Linear(40, 40)
        settings = TrainingSettings(
            name="layer", folder=folder, steps=8, learning_rate=LR, muon=True
        )
        training = Training(layer, settings)

        def loss_at(step: int) -> Tensor:
            if step == stop_at:
                training.save()
                raise PowerCutError
            rows = torch.randn(4, 40, generator=torch.Generator().manual_seed(step))
            loss: Tensor = (layer(rows) ** 2).mean()
            return loss

        return training.run(loss_at)

    whole = trained(tmp_path / "whole")
    with pytest.raises(PowerCutError):
        trained(tmp_path / "cut", stop_at=5)
    resumed = trained(tmp_path / "cut")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
