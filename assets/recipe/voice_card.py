"""The voice's model card, written from the figures that ``benchmarks.voice`` printed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assets.recipe.history import history_table, read_history
from ptq.report_markdown import table

_TEMPLATE = Path(__file__).with_name("voice_card.md")


def write_voice_card(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write ``card.md`` beside the weights.

    Args:
        folder: The voice's folder, with the history of its training.
        result: What ``benchmarks.voice`` wrote.
    """
    history = read_history(folder)
    generated, real = result["figures"]["generated"], result["figures"]["real"]
    rows = [(name, f"{value:.3f}", f"{real[name]:.3f}") for name, value in generated.items()]
    sources, counts = result["confusion"]["sources"], result["confusion"]["counts"]
    shares = sorted((row[i] / sum(row), sources[i]) for i, row in enumerate(counts))
    text = _TEMPLATE.read_text(encoding="utf-8").format(
        training=table(("stage", "steps", "minutes", "of"), history_table(history)),
        hours=sum(row.seconds for row in history) / 3600,
        seeds=result["seeds_per_source"],
        pairs=result["pairs"],
        figures=table(("figure", "generated", "real clips"), rows),
        resynthesis=result["top1_after_resynthesis"],
        rtf=result["real_time_factor"],
        weakest=", ".join(f"{source} {share:.2f}" for share, source in shares[:10]),
    )
    path = folder / "card.md"
    path.write_text(text, encoding="utf-8")
    return path
