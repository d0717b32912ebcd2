"""How the command line reads finished runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ptq.errors import ConfigError
from ptq.report import Report, read_report
from ptq.report_markdown import number, table
from ptq.run_folder import REPORT_NAME


def read_run(run: str) -> Report:
    """The report of a run by its folder.

    Raises:
        ConfigError: If there is none.
    """
    path = Path(run) / REPORT_NAME
    if not path.is_file():
        raise ConfigError(f"There is no {REPORT_NAME} in {run}; name the folder of a finished run.")
    return read_report(path)


def compared(first: Report, second: Report) -> tuple[dict[str, Any], str]:
    """Two runs side by side, as JSON values and as a table."""
    readers: dict[str, Callable[[Report], float | None]] = {
        "size (MB)": lambda r: r.size.pipeline.quantized_bytes / 1e6,
        "latent SQNR (dB)": lambda r: r.paired.latent_sqnr_db,
        "log-mel L1 (dB)": lambda r: r.paired.log_mel_l1_db,
        "divergence index": lambda r: r.paired.divergence_index,
        "FD": lambda r: None if r.fd is None else r.fd.quantized,
    }
    figures = [(name, read(first), read(second)) for name, read in readers.items()]
    header = ("", first.plan.name, second.plan.name)
    rows = [(name, number(a, 3), number(b, 3)) for name, a, b in figures]
    value = {name: {"first": a, "second": b} for name, a, b in figures}
    return {"plans": header[1:], "figures": value}, table(header, rows)
