"""The scores that ship with the page: every preset at hundreds of pairs."""

import json
from dataclasses import dataclass
from pathlib import Path

from ptq.errors import CheckpointError

SCORES_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "scores"


@dataclass(frozen=True, kw_only=True)
class PresetScore:
    """One preset.

    Attributes:
        name: The preset.
        increase_pct: FD against full precision; ``None`` where the ratio means nothing.
        ci95_pct: Its 95 % interval; ``None`` where there is none.
        verdict: What may be concluded.
        size_bytes: The packed pipeline.
        reduction_pct: Against fp32.
    """

    name: str
    increase_pct: float | None
    ci95_pct: tuple[float, float] | None
    verdict: str
    size_bytes: int
    reduction_pct: float


@dataclass(frozen=True, kw_only=True)
class ShippedScores:
    """All presets of one ADM; the noise floor is in per cent of the full-precision FD.

    ``model`` is the hash of the weights that were scored.
    """

    adm: str
    model: str
    embedder: str
    n: int
    noise_floor_pct: float | None
    presets: tuple[PresetScore, ...]


def read_scores(adm: str, folder: Path = SCORES_FOLDER) -> ShippedScores | None:
    """Read the scores of one ADM; ``None`` where none ship.

    Raises:
        CheckpointError: The file is damaged.
    """
    file = folder / f"{adm}.json"
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        presets = tuple(_preset(entry) for entry in data["presets"])
        full = data["presets"][0]["full_precision"] if presets else None
        floor = data.get("noise_floor")
        return ShippedScores(
            adm=data["adm"],
            model=data["model"],
            embedder=data["embedder"],
            n=int(data["n"]),
            noise_floor_pct=100.0 * floor / full if floor is not None and full else None,
            presets=presets,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The scores in {file.name} cannot be read ({error!r}); restore them from git."
        ) from error


def _preset(entry: dict[str, object]) -> PresetScore:
    interval, increase = entry.get("ci95_pct"), entry.get("increase_pct")
    low_high = tuple(map(float, interval)) if isinstance(interval, list) else None
    return PresetScore(
        name=str(entry["name"]),
        increase_pct=None if increase is None else float(str(increase)),
        ci95_pct=(low_high[0], low_high[1]) if low_high else None,
        verdict=str(entry["verdict"]),
        size_bytes=int(str(entry["size_bytes"])),
        reduction_pct=float(str(entry["reduction_pct"])),
    )
