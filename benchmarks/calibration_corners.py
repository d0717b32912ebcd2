"""The four corners of ``benchmarks.calibration``, scored by what is heard."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.calibration_cells import PROMPTS, Cell, Cells, digest_of
from benchmarks.clips import ClipBank
from benchmarks.presets import PlanBench, fd_cells
from ptq.report_markdown import number, table

CORNERS = tuple(
    Cell(prompts=prompts, states=states, size=64, seed=1)
    for prompts in PROMPTS
    for states in ("uniform", "activation-aware")
)
_AGAINST = ("increase_pct", "ci95_pct")


@dataclass(frozen=True, kw_only=True)
class Corners:
    """Scores cells against full precision, and against the first, which chooses nothing.

    Attributes:
        cells: Calibrates.
        scorer: Holds prompts and noise.
    """

    cells: Cells
    scorer: PlanBench
    _banks: dict[Cell, ClipBank] = field(init=False, default_factory=dict)

    def row(self, cell: Cell) -> dict[str, Any]:
        """FD with its interval and paired figures."""
        adm, scorer = self.cells.adm, self.scorer
        full, second = scorer.bank("fp", adm), scorer.bank("fp", adm, 1)
        # First what the others are compared with: its trajectories are recorded once.
        base, bank = self._bank(CORNERS[0]), self._bank(cell)
        row = scorer.scores(full, second, bank)
        if cell != CORNERS[0]:
            change = scorer.scores(base, second, bank)
            row["against_first"] = {key: change[key] for key in _AGAINST if key in change}
        return row

    def _bank(self, cell: Cell) -> ClipBank:
        if cell not in self._banks:
            quantized, _ = self.cells.quantized(cell)
            name = f"cell-{digest_of(quantized)[:8]}"
            self._banks[cell] = self.scorer.bank(name, quantized)
        return self._banks[cell]


def show_corners(corners: Sequence[dict[str, Any]]) -> None:
    """Print the table of corners."""
    cells = [
        (
            row["prompts"],
            row["states"],
            *fd_cells(row),
            *fd_cells(row.get("against_first", {})),
            number(row["latent_sqnr_db"], 1, " dB"),
            number(row["divergence_index"], 3),
        )
        for row in corners
    ]
    header = ("prompts", "states", "FD increase", "95 % interval", "against the first", "interval")
    print(table((*header, "latent SQNR", "divergence index"), cells))
