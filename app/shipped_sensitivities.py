"""The sensitivities that ship with the page: what lets it plan within a budget at once."""

import functools
from pathlib import Path

from ptq.errors import CheckpointError, ConfigError
from ptq.sensitivities import Sensitivities

SENSITIVITIES_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "sensitivities"


def read_sensitivities(adm: str, folder: Path = SENSITIVITIES_FOLDER) -> Sensitivities | None:
    """Read the table of one ADM; ``None`` where none ships. Its weights may be others by now.

    Raises:
        CheckpointError: The file is damaged.
    """
    file = folder / f"{adm}.json"
    return _read(file, file.stat().st_mtime_ns) if file.is_file() else None


@functools.lru_cache(maxsize=4)
def _read(file: Path, _changed_ns: int) -> Sensitivities:
    try:
        return Sensitivities.from_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise CheckpointError(
            f"The sensitivities in {file.name} cannot be read ({error}); restore them from git."
        ) from error
