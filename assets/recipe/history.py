"""What the shipped weights cost: every training that went into them, with steps and time."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

NAME = "training.json"
_NOTES = {
    "vae": "8 clips of 2.56 s a step",
    "decoder": "8 crops of 1.28 s a step; the encoder as it was; Muon",
    "vocoder": "16 crops of 0.8 s a step; spectral energy distance; Muon",
    "reading": "text encoder on captions alone",
    "denoiser": "16 clips of 5.12 s a step, in three tenths of the steps 32 of 2.56 s; Muon; half "
    "of the clips hold two events at once; reads, and knows where in the clip it is; mostly noisy "
    "steps",
    "vocoder-finish": "12 crops of 0.8 s a step; spectral energy distance and critics",
}
# A stage that changes a part of an earlier one counts once its result is there.
_RESULTS = {"decoder": "vae-refined", "vocoder-finish": "vocoder-finished"}


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """One training of one stage.

    Attributes:
        stage: Name of the recipe's stage.
        run: Random name, by which a training that went on is recognised.
        steps: Optimizer steps.
        seconds: Time they took, in all sessions and summed over the processes.
        note: What the figures do not say.
    """

    stage: str
    run: str
    steps: int
    seconds: float
    note: str = ""


def read_history(folder: Path) -> tuple[TrainingRecord, ...]:
    """What a voice's folder says of its training; nothing where it says nothing."""
    path = folder / NAME
    if not path.exists():
        return ()
    return tuple(TrainingRecord(**row) for row in json.loads(path.read_text(encoding="utf-8")))


def states_of(folder: Path) -> tuple[TrainingRecord, ...]:
    """The trainings whose states and results lie in a folder."""
    found = []
    for stage, note in _NOTES.items():
        path = folder / f"{stage}.pt"
        if path.exists() and (folder / _RESULTS.get(stage, "")).exists():
            state = torch.load(path, weights_only=True, mmap=True)
            run, seconds = state.get("run", ""), round(state["seconds"])
            found.append(
                TrainingRecord(
                    stage=stage, run=run, steps=state["step"], seconds=seconds, note=note
                )
            )
    return tuple(found)


def extended(
    history: Iterable[TrainingRecord], states: Iterable[TrainingRecord]
) -> tuple[TrainingRecord, ...]:
    """A history with the states that it lacks, and with the longer of two of one training."""
    rows = {(row.stage, row.run): row for row in history}
    for state in states:
        known = rows.get((state.stage, state.run))
        if known is None or known.steps < state.steps:
            rows[state.stage, state.run] = state
    return tuple(rows.values())


def write_history(folder: Path, rows: Iterable[TrainingRecord]) -> None:
    """Write the history beside the weights."""
    text = json.dumps([asdict(row) for row in rows], indent=1)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def history_table(rows: Iterable[TrainingRecord]) -> list[tuple[str, str, str, str]]:
    """Rows of stage, steps, minutes and note."""
    return [(row.stage, f"{row.steps:,}", f"{row.seconds / 60:.0f}", row.note) for row in rows]
