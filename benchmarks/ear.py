"""What the ear hears: the figures of the sanity suite T1 to T10, as a table and as JSON.

    python -m benchmarks.ear [--clips 500]

writes `benchmarks/results/ear.json` and the table in `assets/ear/card.md`.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau, spearmanr

from assets.recipe import sanity
from assets.recipe.cards import write_ear_card
from assets.recipe.contrast import Swap
from assets.recipe.corpus import CorpusClip
from assets.recipe.degradations import Degradation
from ptq.metrics.embed.logmel import LogMel128
from ptq.metrics.embed.mini import EAR_FOLDER, Mini128
from ptq.metrics.frechet import ReferenceBank, frechet_distance, noise_floor
from ptq.metrics.probabilities import inception_score

RESULTS = Path(__file__).resolve().parent / "results" / "ear.json"
SHORT_S = 2.56
Figures = dict[str, object]


def grades(ear: Mini128, scenes: Sequence[CorpusClip]) -> Figures:
    """T3, T4 and T7: distances along every degradation's grid."""
    clips = [scene.samples for scene in scenes]
    reference = [scene.samples for scene in sanity.reference_clips(len(clips), SHORT_S)]
    curves = sanity.curves([ear, LogMel128()], clips, reference)
    mini, logmel = (
        [value for curve in curves[name].values() for value in curve.paired]
        for name in ("mini128", "logmel128")
    )
    orders = {
        kind.name: float(spearmanr(range(len(c.unpaired)), c.unpaired).statistic)
        for kind, c in curves["mini128"].items()
    }
    return {
        "T3_paired": {
            name: {kind.name: list(curve.paired) for kind, curve in by_kind.items()}
            for name, by_kind in curves.items()
        },
        "T3_grid": {kind.name: list(values) for kind, values in sanity.GRID.items()},
        "T3_monotone": all(
            bool((np.diff(curve.paired) > 0.0).all()) for curve in curves["mini128"].values()
        ),
        "T4_spearman_mean": float(np.mean(list(orders.values()))),
        "T4_spearman": orders,
        "T7_kendall_tau": float(kendalltau(mini, logmel).statistic),
    }


def invariances(ear: Mini128, scenes: Sequence[CorpusClip]) -> Figures:
    """T1, T2, T8 and T10: what must not move a distance, and silence."""
    clips = [scene.samples for scene in scenes]
    rows = ear.embed(clips)
    bank = ReferenceBank.from_embeddings(rows)
    scale = sanity.trace(bank)
    twins = {
        "gain_plus_12_db": [clip * np.float32(10 ** (12 / 20)) for clip in clips],
        "gain_minus_12_db": [clip * np.float32(10 ** (-12 / 20)) for clip in clips],
        "polarity": [-clip for clip in clips],
        "shift_10_ms": [np.roll(clip, 160) for clip in clips],
    }
    silent = ear.embed([np.zeros_like(clip) for clip in clips])
    alone = np.concatenate([ear.embed([clip]) for clip in clips[:32]])
    return {
        "T1_self": frechet_distance(bank, bank) / scale,
        "T2": {k: frechet_distance(bank, ear.embed(v)) / scale for k, v in twins.items()},
        "T8_silence": frechet_distance(bank, silent) / scale,
        "T8_inception_score_silence": inception_score(ear.class_logits(silent)),
        "T8_inception_score_clips": inception_score(ear.class_logits(rows)),
        "T10_batch_difference": float(np.abs(rows[:32] - alone).max()),
    }


def meaning(ear: Mini128, scenes: Sequence[CorpusClip]) -> Figures:
    """T5 and T6: faint degradations, families, classes and captions."""
    clips = [scene.samples for scene in scenes]
    first, second = (
        ReferenceBank.from_embeddings(ear.embed(sanity.family_clips(f, len(clips), SHORT_S)))
        for f in sanity.FAMILIES
    )
    found = {kind.name: sanity.detection(ear, clips, kind) for kind in sanity.DETECTION_LIMITS}
    return {
        "T5_over_limit": {name: d.distance / d.limit for name, d in found.items()},
        "T6_families_over_floor": frechet_distance(first, second)
        / noise_floor(first.eigenvalues(), first.n, second.n),
        "T6_top1_in_labels": sanity.top1_in_labels(ear, scenes),
        "T6_matched_share": sanity.matched_share(ear, scenes),
        **{f"T6_{swap.value}_swap_share": sanity.swap_share(ear, scenes, swap) for swap in Swap},
    }


def length(ear: Mini128, n: int) -> Figures:
    """T9: distance of 2.56 s from 5.12 s of the same clips, against noise at 0 dB."""
    long = [scene.samples for scene in sanity.unheard_clips(n, 2 * SHORT_S)]
    whole = ear.embed(long)
    halves = ear.embed([clip[: len(clip) // 2] for clip in long])
    severe = ear.embed(sanity.degraded(long, Degradation.NOISE, 0.0))
    ratio = frechet_distance(whole, halves) / frechet_distance(whole, severe)
    return {"T9_length_over_severe_noise": ratio}


def main() -> None:
    """Measure, print, and write the results and the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=500)
    n = parser.parse_args().clips
    ear = Mini128.load()
    scenes = sanity.unheard_clips(n, SHORT_S)
    figures: Figures = {"clips": n, "sha256": ear.sha256, **invariances(ear, scenes)}
    figures |= {**grades(ear, scenes), **meaning(ear, scenes), **length(ear, n // 2)}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(write_ear_card(EAR_FOLDER, figures))


if __name__ == "__main__":
    main()
