"""How the command line reads finished runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ptq.errors import ConfigError
from ptq.report import Report, read_report
from ptq.report_markdown import number, table
from ptq.run_folder import REPORT_NAME

# What two runs have to share for their figures to tell of their plans alone.
_ALIKE: dict[str, Callable[[Report], object]] = {
    "the model": lambda r: r.adm.source,
    "the prompts": lambda r: [pair.prompt for pair in r.pairs],
    "the seed": lambda r: r.settings.get("seed"),
    "the steps": lambda r: r.settings.get("steps"),
    "the guidance": lambda r: r.settings.get("guidance"),
    "the length": lambda r: r.settings.get("seconds"),
    "the calibration asked for": lambda r: r.settings.get("calibration"),
    "the sampler's correction": lambda r: r.settings.get("corrected"),
    "the batch size": lambda r: r.settings.get("batch_size"),
    "the embedder": lambda r: None if r.fd is None else r.fd.embedder,
}


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
    """Two runs side by side, as JSON values and as a table, and what else differs than the plan."""
    readers: dict[str, Callable[[Report], float | None]] = {
        "size (MB)": lambda r: r.size.pipeline.quantized_bytes / 1e6,
        "latent SQNR (dB)": lambda r: r.paired.latent_sqnr_db,
        "log-mel L1 (dB)": lambda r: r.paired.log_mel_l1_db,
        "divergence index": lambda r: r.paired.divergence_index,
        # Of other numbers of pairs, distances are no comparison; their rise is.
        "FD rise (%)": lambda r: None if r.fd is None else r.fd.increase_pct,
        "pairs": lambda r: len(r.pairs),
    }
    figures = [(name, read(first), read(second)) for name, read in readers.items()]
    header = ("", first.plan.name, second.plan.name)
    rows = [
        (name, *(str(v) if isinstance(v, int) else number(v, 3) for v in values))
        for name, *values in figures
    ]
    value = {name: {"first": a, "second": b} for name, a, b in figures}
    differ = [what for what, read in _ALIKE.items() if read(first) != read(second)]
    text = table(header, rows)
    if differ:
        text += f"\n\nThe runs differ in {', '.join(differ)}, too: figures tell of more than plans."
    return {"plans": header[1:], "figures": value, "differ": differ}, text
