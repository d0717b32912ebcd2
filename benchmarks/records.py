"""The raw figures of a table, written after every step so that an interrupted script resumes."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def earlier(name: str, what: Mapping[str, Any]) -> dict[str, Any]:
    """What an earlier run wrote, or nothing.

    Args:
        name: Of the table.
        what: All that its figures depend on; each value stands in the file under its key.

    Raises:
        SystemExit: It was asked something else, and would be lost.
    """
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    # As JSON has it: a tuple comes back as a list.
    asked = json.loads(json.dumps(dict(what)))
    other = [key for key, value in asked.items() if found and found.get(key) != value]
    if other:
        raise SystemExit(
            f"{path} holds figures of another {', another '.join(other)}; move it away to measure"
            " anew."
        )
    return found


def texts_hash(texts: Iterable[str]) -> str:
    """Hash of prompts: a seed alone does not say what a later grammar draws from it."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def write_results(name: str, value: Mapping[str, Any]) -> Path:
    """Write the raw figures of a table; who stops it half-way keeps the old ones."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return partial.replace(path)
