"""What the model card says of the cost of a voice."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from assets.recipe.history import (
    TrainingRecord,
    extended,
    history_table,
    read_history,
    states_of,
    write_history,
)
from assets.recipe.training import Training, TrainingSettings
from ptq.adms.registry import ADMS_FOLDER

FIRST = TrainingRecord(stage="vae", run="a", steps=10, seconds=60.0)


def test_a_training_that_went_on_is_counted_once() -> None:
    longer = replace(FIRST, steps=30, seconds=180.0)
    assert extended([FIRST], [longer]) == (longer,)
    assert extended([longer], [FIRST]) == (longer,)


def test_another_training_of_a_stage_is_counted_beside_it() -> None:
    other = replace(FIRST, run="b")
    assert extended([FIRST], [other]) == (FIRST, other)


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_history(tmp_path) == ()
    write_history(tmp_path, [FIRST])
    assert read_history(tmp_path) == (FIRST,)
    assert history_table([FIRST]) == [("vae", "10", "1", "")]


def test_a_resumed_training_keeps_its_name_in_the_history(tmp_path: Path) -> None:
    def trained(steps: int) -> TrainingRecord:
        layer = nn.Linear(2, 1)
        settings = TrainingSettings(name="vae", folder=tmp_path, steps=steps, learning_rate=1e-3)
        Training(layer, settings).run(lambda _: layer(torch.ones(1, 2)).sum())
        return states_of(tmp_path)[0]

    first, second = trained(2), trained(5)
    assert (first.steps, second.steps) == (2, 5)
    assert extended([first], [second]) == (second,)


def test_a_finish_that_has_not_ended_is_not_counted(tmp_path: Path) -> None:
    torch.save({"step": 3, "seconds": 1.0, "run": "c"}, tmp_path / "vocoder-finish.pt")
    assert states_of(tmp_path) == ()
    (tmp_path / "vocoder-finished").mkdir()
    assert [row.stage for row in states_of(tmp_path)] == ["vocoder-finish"]


def test_the_shipped_voice_says_what_it_cost() -> None:
    history = read_history(ADMS_FOLDER / "mini-audioldm")
    assert {"vae", "vocoder", "reading", "denoiser"} <= {row.stage for row in history}
    assert all(row.steps > 0 and row.seconds > 0 for row in history)
