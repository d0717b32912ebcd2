"""Prompts of a person's own file: a line each, a column of a table, or a key of JSON objects."""

import csv
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ptq.errors import ConfigError
from ptq.prompts.aspects import aspects_of, families_of

_COLUMNS = ("prompt", "caption", "text")


def read_prompts(path: Path) -> tuple[str, ...]:
    """Read prompts: ``.csv`` with a header, ``.jsonl``, or text with one prompt a line.

    Tables and objects name them ``prompt``, ``caption`` or ``text``.

    Raises:
        ConfigError: If the file is of another format, cannot be read or has none.
    """
    check_format(path)
    read = _READERS[path.suffix.lower()]
    try:
        found = read(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ConfigError(
            f"The prompts in {path} cannot be read ({error}); name a UTF-8 file, txt, csv or jsonl."
        ) from error
    prompts = tuple(" ".join(text.split()) for text in found if text.strip())
    if not prompts:
        raise ConfigError(f"{path} has no prompts; write one a line.")
    return prompts


def write_prompts(path: Path, prompts: Sequence[str], given: Collection[str]) -> None:
    """Write prompts that ``read_prompts`` reads again: ``.jsonl`` and ``.csv`` say what each is.

    They have the prompt, whether it was ``given`` or added, and the sound families and aspects that
    its words show.

    Raises:
        ConfigError: If the file is of another format.
    """
    check_format(path)
    write = {".jsonl": _objects, ".csv": _table}.get(path.suffix.lower())
    if write is None:
        path.write_text("".join(f"{prompt}\n" for prompt in prompts), encoding="utf-8")
        return
    described = [
        {
            "prompt": prompt,
            "given": prompt in given,
            "families": sorted(families_of(prompt)),
            "aspects": sorted(aspects_of(prompt)),
        }
        for prompt in prompts
    ]
    path.write_text(write(described), encoding="utf-8")


def check_format(path: Path) -> None:
    """Refuse a file that is read or written as nothing known.

    Raises:
        ConfigError: Its name ends otherwise.
    """
    if path.suffix.lower() not in _READERS:
        raise ConfigError(f"{path} is none of .txt, .csv and .jsonl; name or convert it so.")


def _objects(described: Sequence[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in described)


def _table(described: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(described[0])
    writer.writerows(
        ["; ".join(value) if isinstance(value, list) else value for value in row.values()]
        for row in described
    )
    return text.getvalue()


def _of_table(text: str) -> list[str]:
    rows = csv.DictReader(io.StringIO(text))
    names = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
    column = next((names[name] for name in _COLUMNS if name in names), None)
    if column is None:
        raise ConfigError(f"no column is called {', '.join(_COLUMNS)}")
    return [row[column] or "" for row in rows]


def _of_objects(text: str) -> list[str]:
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
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
    {".csv": _of_table, ".jsonl": _of_objects, ".txt": str.splitlines, "": str.splitlines}
)
