"""Two processes that train together take the step of one that sees both batches."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from assets.recipe.parallel import average_gradients, joined_group, rank, world_size
from assets.recipe.training import Training, TrainingSettings

STEPS = 3
BATCH = 4


def train(folder: Path) -> nn.Module:
    """Train a layer; each process sees its own part of every batch."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 2)
    settings = TrainingSettings(name="layer", folder=folder, steps=STEPS, learning_rate=0.1)

    def loss_at(step: int) -> Tensor:
        rows = torch.randn(BATCH, 6, generator=torch.Generator().manual_seed(step))
        part = rows.chunk(world_size())[rank()]
        loss: Tensor = (layer(part) ** 2).mean()
        return loss

    return Training(layer, settings).run(loss_at)


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "."}
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", __file__, str(tmp_path / "two")),
        ],
        env=environment,
        check=True,
        timeout=180,
    )
    train(tmp_path / "one")
    together, alone = (
        torch.load(tmp_path / name / "layer.pt", weights_only=True)["module"]
        for name in ("two", "one")
    )
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value)


def test_alone_nothing_is_averaged() -> None:
    layer = nn.Linear(2, 1)
    layer.weight.grad = torch.ones_like(layer.weight)
    average_gradients(layer)
    assert (rank(), world_size()) == (0, 1)
    assert layer.weight.grad.tolist() == [[1.0, 1.0]]


if __name__ == "__main__":
    with joined_group():
        train(Path(sys.argv[1]))
