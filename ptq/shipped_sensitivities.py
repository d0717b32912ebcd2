"""The sensitivities that ship with an embedded model: what lets bits be planned at once."""

import functools
from pathlib import Path

from ptq.adms.registry import ADMS_FOLDER
from ptq.errors import CheckpointError, ConfigError
from ptq.sensitivities import Sensitivities

SENSITIVITIES_FOLDER = ADMS_FOLDER.parent / "sensitivities"


def shipped_sensitivities(
    adm_id: str, source_hash: str, folder: Path = SENSITIVITIES_FOLDER
) -> Sensitivities | None:
    """The table of one ADM; ``None`` where none ships, or one of other weights.

    Args:
        adm_id: Id of the model.
        source_hash: Of its weights.
        folder: Of all tables.

    Raises:
        CheckpointError: The file is damaged.
    """
    file = folder / f"{adm_id}.json"
    if not file.is_file():
        return None
    found = _read(file, file.stat().st_mtime_ns)
    return found if found.model_hash == source_hash else None


@functools.lru_cache(maxsize=4)
def _read(file: Path, _changed_ns: int) -> Sensitivities:
    try:
        return Sensitivities.from_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise CheckpointError(
            f"The sensitivities in {file.name} cannot be read ({error}); restore them from git."
        ) from error
