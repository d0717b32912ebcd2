"""What the operator of the page may decide, read once from environment variables."""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ptq.adms.registry import LOCAL_VARIABLE, local_folders
from ptq.errors import ConfigError
from ptq.report import read_report
from ptq.run_folder import REPORT_NAME
from ptq.study_config import MAX_SECONDS, MAX_STEPS, MIN_SECONDS

PREFIX = "PTQ4ADM_"
_RUNS_OF_A_SPACE = 200
_GB_OF_A_SPACE = 10
_MINUTES_OF_A_SPACE = 60
# A waiting call of a program takes one of Gradio's forty workers.
_MOST_QUEUED = 30
_MOST_THREADS = 1024


def _cores() -> int:
    return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The limits and places of one running page.

    Attributes:
        runs: Folder that takes one sub-folder per study (``PTQ4ADM_RUNS``).
        local_adms: Folders of published ADMs by the name that the page gives them
            (``PTQ4ADM_LOCAL_ADMS``: ``name=folder``, joined by the system's path separator).
        max_steps: Most denoising steps a visitor may ask for (``PTQ4ADM_MAX_STEPS``).
        max_prompts: Most prompts in one study (``PTQ4ADM_MAX_PROMPTS``).
        max_seconds: Longest clip, in seconds (``PTQ4ADM_MAX_SECONDS``).
        max_queued: Jobs that may wait behind the running one (``PTQ4ADM_MAX_QUEUED``).
        max_minutes: Minutes that one job may compute (``PTQ4ADM_MAX_MINUTES``); any number by
            default, but for a Hugging Face Space, which gives 60.
        threads: Threads of one computation (``PTQ4ADM_THREADS``).
        featured_run: Folder of a finished run that every visitor is shown as the example
            (``PTQ4ADM_FEATURED_RUN``).
        keep_runs: Runs that stay on disk; older ones are deleted (``PTQ4ADM_KEEP_RUNS``).
            Everything stays by default, but for a Hugging Face Space, which keeps 200.
        keep_gb: Gigabytes that they may take (``PTQ4ADM_KEEP_GB``); a Space keeps 10.
    """

    runs: Path = Path("runs")
    local_adms: Mapping[str, Path] = field(default_factory=dict)
    max_steps: int = 100
    max_prompts: int = 64
    max_seconds: float = 10.24
    max_queued: int = 4
    max_minutes: int | None = None
    threads: int = field(default_factory=_cores)
    featured_run: Path | None = None
    keep_runs: int | None = None
    keep_gb: int | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings; what is not set keeps its default.

        Args:
            environ: Variables by name; those that do not start with ``PTQ4ADM_`` are ignored.

        Raises:
            ConfigError: A variable is misspelt or out of range.
            ModelError: A local ADM is not where it should be.
            CheckpointError: The example's report is damaged.
        """
        _reject_unknown(environ)
        runs = Path(environ.get(PREFIX + "RUNS") or cls.runs).expanduser()
        if runs.exists() and not runs.is_dir():
            raise ConfigError(f"{PREFIX}RUNS is {str(runs)!r}, a file; name a folder.")
        return cls(
            runs=runs,
            local_adms=local_folders(environ.get(LOCAL_VARIABLE, "")),
            max_steps=_at_most(
                MAX_STEPS,
                "MAX_STEPS",
                _whole_number(environ, "MAX_STEPS", cls.max_steps, at_least=1),
            ),
            max_prompts=_whole_number(environ, "MAX_PROMPTS", cls.max_prompts, at_least=1),
            max_seconds=_seconds(environ, "MAX_SECONDS", cls.max_seconds),
            max_queued=_whole_number(
                environ, "MAX_QUEUED", cls.max_queued, at_least=0, at_most=_MOST_QUEUED
            ),
            max_minutes=_bound(environ, "MAX_MINUTES", _MINUTES_OF_A_SPACE),
            threads=_whole_number(environ, "THREADS", _cores(), at_least=1, at_most=_MOST_THREADS),
            featured_run=_featured_run(environ.get(PREFIX + "FEATURED_RUN", "").strip()),
            keep_runs=_bound(environ, "KEEP_RUNS", _RUNS_OF_A_SPACE),
            keep_gb=_bound(environ, "KEEP_GB", _GB_OF_A_SPACE),
        )


_VARIABLES = tuple(PREFIX + name.upper() for name in Settings.__dataclass_fields__)


def _reject_unknown(environ: Mapping[str, str]) -> None:
    """A misspelt limit that is silently ignored would be no limit."""
    for name in environ:
        if name.startswith(PREFIX) and name not in _VARIABLES:
            nearest = difflib.get_close_matches(name, _VARIABLES, n=1, cutoff=0)[0]
            raise ConfigError(f"{name} is not a setting of this page; did you mean {nearest}?")


def _whole_number(
    environ: Mapping[str, str],
    name: str,
    default: int,
    *,
    at_least: int,
    at_most: int | None = None,
) -> int:
    text = environ.get(PREFIX + name, "").strip() or str(default)
    value = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else -1
    if value < at_least or (at_most is not None and value > at_most):
        limits = f"at least {at_least}" + ("" if at_most is None else f" and at most {at_most}")
        raise ConfigError(f"{PREFIX}{name} is {text!r}; give a whole number of {limits}.")
    return value


def _at_most(limit: int, name: str, value: int) -> int:
    if value > limit:
        raise ConfigError(f"{PREFIX}{name} is {value}; no sampler takes more than {limit}.")
    return value


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(PREFIX + name, "").strip() or str(default)
    message = (
        f"{PREFIX}{name} is {text!r}; give {MIN_SECONDS} to {MAX_SECONDS:g} seconds, such as"
        f" {default}."
    )
    try:
        seconds = float(text)
    except ValueError as error:
        raise ConfigError(message) from error
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:  # as NaN is not, either
        raise ConfigError(message)
    return seconds


def _bound(environ: Mapping[str, str], name: str, of_a_space: int) -> int | None:
    # Hugging Face sets SPACE_ID; a visitor of a Space never counts on yesterday's files.
    if environ.get(PREFIX + name, "").strip() or "SPACE_ID" in environ:
        return _whole_number(environ, name, of_a_space, at_least=1)
    return None


def _featured_run(text: str) -> Path | None:
    if not text:
        return None
    path = Path(text).expanduser()
    if not (path / REPORT_NAME).is_file():
        raise ConfigError(
            f"{PREFIX}FEATURED_RUN is {text!r}, which holds no {REPORT_NAME}; name the folder of a "
            "finished run."
        )
    # Refused at the start, not before every visitor.
    for pair in read_report(path / REPORT_NAME).pairs:
        for clip in (pair.reference, pair.quantized):
            if not (path / clip).is_file():
                raise ConfigError(
                    f"{PREFIX}FEATURED_RUN is {text!r}, which lacks {clip}; name the folder of a"
                    " whole run."
                )
    return path
