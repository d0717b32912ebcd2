"""The voice's model card, written from the figures that ``benchmarks.voice`` printed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptq.report_markdown import table

_TEMPLATE = Path(__file__).with_name("voice_card.md")


def write_voice_card(folder: Path, result: Mapping[str, Any], training: str) -> Path:
    """Write ``card.md`` beside the weights.

    Args:
        folder: The voice's folder.
        result: What ``benchmarks.voice`` wrote.
        training: One or two sentences on what the training cost.
    """
    generated, real = result["figures"]["generated"], result["figures"]["real"]
    rows = [(name, f"{value:.3f}", f"{real[name]:.3f}") for name, value in generated.items()]
    sources, counts = result["confusion"]["sources"], result["confusion"]["counts"]
    shares = sorted((row[i] / sum(row), sources[i]) for i, row in enumerate(counts))
    text = _TEMPLATE.read_text(encoding="utf-8").format(
        training=training,
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
