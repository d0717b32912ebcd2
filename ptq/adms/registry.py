"""Which ADMs there are: the embedded ones, and local folders that the user names."""

import enum
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ptq.errors import ModelError
from ptq.prompts.lexicon import Lexicon, default_lexicon
from ptq.spelling import nearest

ADMS_FOLDER = Path(__file__).resolve().parents[2] / "assets" / "adms"
LOCAL_VARIABLE = "PTQ4ADM_LOCAL_ADMS"
INDEX_NAME = "model_index.json"
_USUAL_FAMILY = "audioldm"
# Families by diffusers' name of their pipeline; each has an adapter in ``ptq.adms.loading``.
PIPELINES = {"AudioLDMPipeline": _USUAL_FAMILY}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class AdmState(enum.StrEnum):
    """Where a model's weights are."""

    EMBEDDED = "embedded"
    LOCAL = "local"


@dataclass(frozen=True, kw_only=True)
class AdmCard:
    """What a list of models shows."""

    id: str
    family: str
    size_bytes: int
    licence: str
    source: str
    state: AdmState
    folder: Path


def lexicon_of(adm_id: str) -> Lexicon:
    """The sounds that an ADM may be asked for: its own if it is embedded, else all."""
    embedded = (ADMS_FOLDER / adm_id / INDEX_NAME).exists()
    return default_lexicon() if embedded else default_lexicon().all_voiced()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _embedded() -> Iterator[AdmCard]:
    for index in sorted(ADMS_FOLDER.glob(f"*/{INDEX_NAME}")):
        about = json.loads((index.parent / "about.json").read_text(encoding="utf-8"))
        yield AdmCard(
            id=index.parent.name,
            family=about["family"],
            size_bytes=_size(index.parent),
            licence=about["licence"],
            source=about["source"],
            state=AdmState.EMBEDDED,
            folder=index.parent,
        )


def local_folders(text: str) -> Mapping[str, Path]:
    """Parse ``name=folder`` entries separated by the platform's path separator.

    Raises:
        ModelError: An entry has no proper name or that of an embedded model, a name stands twice,
            or a folder does not exist.
    """
    found, embedded = dict[str, Path](), {card.id for card in _embedded()}
    for entry in filter(None, (part.strip() for part in text.split(os.pathsep))):
        name, folder = _local_folder(entry)
        if name in embedded:
            raise ModelError(
                f"{LOCAL_VARIABLE} uses the name {name!r}, which is that of a model that ships; "
                "give the folder another."
            )
        if name in found:
            raise ModelError(
                f"{LOCAL_VARIABLE} uses the name {name!r} twice; give each folder its own."
            )
        found[name] = folder
    return found


def _local_folder(entry: str) -> tuple[str, Path]:
    name, separator, folder = (part.strip() for part in entry.partition("="))
    if not separator or not _NAME.fullmatch(name):
        raise ModelError(
            f"{LOCAL_VARIABLE} has the entry {entry!r}; write name=folder, the name in "
            f"lower-case letters, digits, dots and dashes, and put {os.pathsep!r} between entries."
        )
    path = Path(folder).expanduser()
    if not folder or not path.is_dir():
        raise ModelError(
            f"{LOCAL_VARIABLE} points {name!r} to {folder!r}, which is not a folder; "
            "correct the path or remove the entry."
        )
    return name, path


def _local(folders: Mapping[str, Path]) -> Iterator[AdmCard]:
    for name, folder in folders.items():
        yield AdmCard(
            id=name,
            family=_family(folder),
            size_bytes=_size(folder),
            licence="the publisher's",
            source=folder.name,
            state=AdmState.LOCAL,
            folder=folder,
        )


def _family(folder: Path) -> str:
    """The family that a folder's pipeline class belongs to, or that class itself."""
    try:
        index = json.loads((folder / INDEX_NAME).read_text(encoding="utf-8"))
        pipeline = str(index["_class_name"])
    except (OSError, TypeError, ValueError, KeyError):
        return _USUAL_FAMILY  # whose adapter says what is wrong with the folder
    return PIPELINES.get(pipeline, pipeline)


def list_adms(folders: Mapping[str, Path] | None = None) -> tuple[AdmCard, ...]:
    """Every ADM that can be loaded now, embedded ones first.

    Args:
        folders: Local folders by name; by default those of the environment variable
            ``PTQ4ADM_LOCAL_ADMS``.
    """
    if folders is None:
        folders = local_folders(os.environ.get(LOCAL_VARIABLE, ""))
    return (*_embedded(), *_local(folders))


def find_adm(adm_id: str, folders: Mapping[str, Path] | None = None) -> AdmCard:
    """The card of a model.

    Raises:
        ModelError: If there is none of that name.
    """
    cards = {card.id: card for card in list_adms(folders)}
    if adm_id not in cards:
        hint = f"the nearest is {nearest(adm_id, cards)!r}" if cards else "none is installed"
        raise ModelError(
            f"There is no ADM {adm_id!r}; {hint}. "
            f"Name a local folder in {LOCAL_VARIABLE} to add one."
        )
    return cards[adm_id]
