"""Every preset on the embedded voice: size, Fréchet distance with interval and verdict, pairs.

``python -m benchmarks.presets [--pairs 512] [--presets w8a8 ptq4adm …] [--ship]``

Clips are kept under ``runs/benchmarks``: an interrupted run resumes, and a preset that is there is
not generated again. ``--ship`` also writes the scores that the page shows.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.recipe.gallery import calibrate, quantized_copy
from benchmarks.clips import SETTINGS, ClipBank, write_results
from ptq.adms.base import AudioDiffusionModel
from ptq.adms.loading import load_adm
from ptq.adms.registry import ADMS_FOLDER, find_adm
from ptq.checkpoint import packed_bytes, save_packed
from ptq.errors import MetricError
from ptq.layers import inventory, named_tensors
from ptq.metrics import ReferenceBank
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.metrics.projected import projected_increase
from ptq.plan import resolve_plan
from ptq.presets import PRESETS, preset
from ptq.prompts.grammar import Prompt
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.suites import Suite, draw_suite
from ptq.report_markdown import megabytes, number, table
from ptq.scoring import Banks, Embeddings, fd_record, score_pair

SCORES = ADMS_FOLDER.parent / "scores"
_SEED = 100


def families_of(prompts: Sequence[Prompt]) -> dict[str, NDArray[np.bool_]]:
    """Which clips hold a sound of each family."""
    lexicon = default_lexicon()
    held = [
        {lexicon[source].family for source in prompt.scene.sources} if prompt.scene else set()
        for prompt in prompts
    ]
    return {name: np.array([name in row for row in held]) for name in lexicon.families}


def family_increases(
    ear: Ear, found: Embeddings, families: dict[str, NDArray[np.bool_]]
) -> dict[str, float | None]:
    """FD increase of each family against its own part of the reference bank."""
    return {
        name: _increase(ear.families[name], found.full[rows], found.quantized[rows])
        for name, rows in families.items()
    }


def _increase(
    bank: ReferenceBank, full: NDArray[np.float32], quantized: NDArray[np.float32]
) -> float | None:
    try:
        return projected_increase(bank, full, quantized).increase_pct
    except MetricError:
        return None


def bytes_on_disk(adm: AudioDiffusionModel, name: str) -> int:
    """Bytes of the packed checkpoint."""
    plan = resolve_plan(preset(name), inventory(adm.parts(), adm.splits()))
    with tempfile.TemporaryDirectory() as folder:
        stats = {} if name == "fp" else calibrate(adm, SETTINGS)
        save_packed(Path(folder) / "packed", quantized_copy(adm, name, stats).parts(), plan)
        return packed_bytes(Path(folder) / "packed")


def main() -> None:
    """Generate, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--ship", action="store_true")
    arguments = parser.parse_args()
    adm, ear = load_adm(find_adm("mini-audioldm")), find_ear()
    if not isinstance(ear, Ear):
        raise SystemExit(f"The presets are scored with the shipped ear: {ear}")
    prompts = draw_suite(Suite.FINAL, arguments.pairs, _SEED)
    rows = [_row(adm, ear, prompts, name) for name in arguments.presets]
    scores = {
        "adm": adm.id,
        "model": adm.source_hash,
        "embedder": ear.id,
        "ear": ear.sha256,
        "n": arguments.pairs,
        "noise_floor": rows[0]["noise_floor"],
        "presets": rows,
        "settings": {
            "steps": SETTINGS.steps,
            "guidance": SETTINGS.guidance,
            "seconds": SETTINGS.seconds,
            "seed": _SEED,
        },
        "prompts": [prompt.text for prompt in prompts],
    }
    path = write_results("presets", scores)
    if arguments.ship:
        SCORES.mkdir(exist_ok=True)
        (SCORES / f"{adm.id}.json").write_text(json.dumps(scores, indent=1) + "\n")
    print(
        table(
            (
                "preset",
                "size",
                "below fp32",
                "below fp16",
                "FD increase",
                "95 % interval",
                "verdict",
                "latent SQNR",
                "divergence",
            ),
            [_cells(row) for row in rows],
        )
    )
    print(path)


def _row(
    adm: AudioDiffusionModel, ear: Ear, prompts: Sequence[Prompt], name: str
) -> dict[str, Any]:
    texts = tuple(prompt.text for prompt in prompts)
    full = ClipBank(name=f"fp{len(texts)}", adm=adm, prompts=texts, seed=_SEED)
    second = ClipBank(name=f"fp{len(texts)}", adm=adm, prompts=texts, seed=_SEED + 1)
    stats = {} if name == "fp" else calibrate(adm, SETTINGS)
    plan = resolve_plan(preset(name), inventory(adm.parts(), adm.splits()))
    quantized = (
        full
        if name == "fp"
        else ClipBank(
            name=f"{name}-{plan.sha256[:8]}-{len(texts)}",
            adm=quantized_copy(adm, name, stats),
            prompts=texts,
            seed=_SEED,
        )
    )
    banks = Banks(
        prompts=texts,
        full=tuple(full.clips()),
        second=tuple(second.clips()),
        quantized=tuple(quantized.clips()),
    )
    found = Embeddings(
        full=ear.embed(full.samples()),
        second=ear.embed(second.samples()),
        quantized=ear.embed(quantized.samples()),
    )
    families = family_increases(ear, found, families_of(prompts))
    record, notes = fd_record(ear, banks, found, families)
    pairs = [
        score_pair(a, b, (x, y))
        for a, b, x, y in zip(
            banks.full, banks.quantized, full.latents(), quantized.latents(), strict=True
        )
    ]
    values = sum(t.numel() for _, t in named_tensors(adm.parts()))
    size = bytes_on_disk(adm, name)
    return {
        "name": name,
        "plan": plan.sha256,
        "size_bytes": size,
        "reduction_pct": 100 * (1 - size / (4 * values)),
        "reduction_fp16_pct": 100 * (1 - size / (2 * values)),
        "latent_sqnr_db": _median([p.latent_sqnr_db for p in pairs]),
        "log_mel_l1_db": _median([p.log_mel_l1_db for p in pairs]),
        "family_increase_pct": families,
        "notes": list(notes),
        **(
            {}
            if record is None
            else {
                "full_precision": record.full_precision,
                "quantized": record.quantized,
                "quantized_vs_full": record.quantized_vs_full,
                "increase_pct": record.increase_pct,
                "ci95_pct": record.ci95_pct,
                "upper95_pct": record.upper95_pct,
                "noise_floor": record.noise_floor,
                "verdict": record.verdict,
                "estimator": record.estimator,
            }
        ),
    }


def _median(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.median(found)) if found else None


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    interval = row.get("ci95_pct")
    return (
        row["name"],
        megabytes(row["size_bytes"]),
        number(row["reduction_pct"], 1, " %"),
        number(row["reduction_fp16_pct"], 1, " %"),
        number(row.get("increase_pct"), 2, " %"),
        "n/a" if interval is None else f"{interval[0]:+.1f} … {interval[1]:+.1f} %",
        row.get("verdict", "n/a"),
        number(row["latent_sqnr_db"], 1, " dB"),
        number(row.get("quantized_vs_full"), 4),
    )


if __name__ == "__main__":
    main()
