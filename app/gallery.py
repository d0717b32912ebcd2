"""The gallery: pairs that ship with the page, so that there is something to hear at once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptq.errors import CheckpointError

GALLERY_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "gallery"
_INDEX = "gallery.json"


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """One prompt at every plan.

    Attributes:
        prompt: What was asked for.
        family: The sound family of its first source.
        seed: Seed of every version.
        clips: Files by plan.
        paired: Figures against full precision, by plan and name.
    """

    prompt: str
    family: str
    seed: int
    clips: Mapping[str, Path]
    paired: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """All items, and the plans in the order of the player's tracks, full precision first."""

    adm: str
    plans: tuple[str, ...]
    items: tuple[GalleryItem, ...]

    @property
    def families(self) -> tuple[str, ...]:
        """Families in order of appearance."""
        return tuple(dict.fromkeys(item.family for item in self.items))

    def of_family(self, family: str) -> tuple[int, ...]:
        """Places of a family's items."""
        return tuple(i for i, item in enumerate(self.items) if item.family == family)


def read_gallery(folder: Path = GALLERY_FOLDER) -> Gallery | None:
    """Read the shipped gallery; ``None`` where there is none.

    Raises:
        CheckpointError: The index is damaged or names a clip that is not there.
    """
    index = folder / _INDEX
    if not index.is_file():
        return None
    try:
        data = json.loads(index.read_text(encoding="utf-8"))
        plans = tuple(data["plans"])
        items = tuple(_item(entry, folder, plans) for entry in data["items"])
        return Gallery(adm=data["adm"], plans=plans, items=items)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"The gallery's index cannot be read ({error!r}); restore assets/gallery from git."
        ) from error


def _item(entry: Mapping[str, Any], folder: Path, plans: tuple[str, ...]) -> GalleryItem:
    clips = {plan: folder / entry["clips"][plan] for plan in plans}
    missing = next((path.name for path in clips.values() if not path.is_file()), None)
    if missing is not None:
        raise CheckpointError(
            f"The gallery lacks the clip {missing}; restore assets/gallery from git."
        )
    return GalleryItem(
        prompt=entry["prompt"],
        family=entry["family"],
        seed=int(entry["seed"]),
        clips=clips,
        paired=entry.get("paired", {}),
    )
