"""What a visitor is told of an error: everything but where the host keeps its files."""

import pytest

from app.messages import message_of
from ptq.errors import CheckpointError


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "/data/space/runs/8f87/report.json cannot be read (line 1); delete it.",
            "…/8f87/report.json cannot be read (line 1); delete it.",
        ),
        ("the plan '/data/plans/my plan' is empty", "the plan '…/plans/my plan' is empty"),
        ("in /data/adms/tiny/unet: no config.json", "in …/tiny/unet: no config.json"),
        ("choose w4/w8, or a8/t10/mse", "choose w4/w8, or a8/t10/mse"),
        ("there is no folder runs/8f87/packed", "there is no folder runs/8f87/packed"),
        ("see https://arxiv.org/abs/2409.13894/v1", "see https://arxiv.org/abs/2409.13894/v1"),
    ],
)
def test_folders_of_the_host_are_left_out(said: str, told: str) -> None:
    assert message_of(CheckpointError(said)) == told
