"""What a job computes, and where."""

from dataclasses import dataclass
from pathlib import Path

from ptq.stages import FULL, QUANTIZED, clip_path
from ptq.study_config import StudyConfig


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What a job computes, and where its files appear."""

    config: StudyConfig
    run: Path

    def clips_so_far(self) -> tuple[tuple[Path, Path | None], ...]:
        """Every finished full-precision clip in order, with its quantized twin once it exists."""
        found: list[tuple[Path, Path | None]] = []
        for index in range(len(self.config.prompts)):
            full, quantized = (self.run / clip_path(bank, index) for bank in (FULL, QUANTIZED))
            if not full.exists():
                break
            found.append((full, quantized if quantized.exists() else None))
        return tuple(found)
