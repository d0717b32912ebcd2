"""Prompts of a person's own file: a line each, a column of a table, or a key of JSON objects."""

import csv
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ptq.errors import ConfigError
from ptq.prompts.aspects import aspects_of, families_of

_COLUMNS = ("prompt", "caption", "text")


def read_prompts(path: Path) -> tuple[str, ...]:
    """Read prompts: ``.csv`` with a header, ``.jsonl``, or text with one prompt a line.

    Tables and objects name them ``prompt``, ``caption`` or ``text``.

    Raises:
        ConfigError: If the file cannot be read or has none.
    """
    read = _READERS.get(path.suffix.lower(), str.splitlines)
    try:
        found = read(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ConfigError(f"The prompts in {path} cannot be read ({error}).") from error
    prompts = tuple(" ".join(text.split()) for text in found if text.strip())
    if not prompts:
        raise ConfigError(f"{path} has no prompts; write one a line.")
    return prompts


def write_prompts(path: Path, prompts: Sequence[str], given: Collection[str]) -> None:
    """Write prompts that ``read_prompts`` reads again: ``.jsonl`` says what each is, else text.

    An object has the prompt, whether it was ``given`` or added, and the sound families and aspects
    that its words show.
    """
    if path.suffix.lower() != ".jsonl":
        lines = list(prompts)
    else:
        lines = [
            json.dumps(
                {
                    "prompt": prompt,
                    "given": prompt in given,
                    "families": sorted(families_of(prompt)),
                    "aspects": sorted(aspects_of(prompt)),
                },
                ensure_ascii=False,
            )
            for prompt in prompts
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _of_table(text: str) -> list[str]:
    rows = csv.DictReader(io.StringIO(text))
    names = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
    column = next((names[name] for name in _COLUMNS if name in names), None)
    if column is None:
        raise ConfigError(f"no column is called {', '.join(_COLUMNS)}")
    return [row[column] or "" for row in rows]


def _of_objects(text: str) -> list[str]:
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        value = json.loads(line)
        if isinstance(value, dict):
            value = next((value[name] for name in _COLUMNS if name in value), None)
        if not isinstance(value, str):
            raise ConfigError(f"line {number} holds no {', '.join(_COLUMNS)}")
        found.append(value)
    return found


_READERS: Mapping[str, Callable[[str], list[str]]] = MappingProxyType(
    {".csv": _of_table, ".jsonl": _of_objects}
)
