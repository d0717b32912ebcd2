"""How well the judge names corpus clips of unseen seeds: the ceiling of what it says of an ADM.

    python -m benchmarks.judge [--per-source 8]

writes `benchmarks/results/judge.json` and the table in `assets/judge/card.md`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assets.recipe.cards import write_judge_card
from assets.recipe.corpus import SEED_OF, corpus_clip, single_source_clip
from assets.recipe.dataset import scene_of
from ptq.metrics.embed.judge import JUDGE_FOLDER, Judge

RESULTS = Path(__file__).resolve().parent / "results" / "judge.json"
_OFFSET_SINGLES = 600_000
_OFFSET_PAIRS = 700_000


def single_hits(judge: Judge, per_source: int, seconds: float) -> NDArray[np.bool_]:
    """Whether the most likely source is the right one, `(sources, per_source)`."""
    hits = np.zeros((len(judge.sources), per_source), dtype=np.bool_)
    for row, source in enumerate(judge.sources):
        first = SEED_OF["tests"] + _OFFSET_SINGLES + row * per_source
        seeds = range(first, first + per_source)
        clips = [single_source_clip(source, seed, seconds).samples for seed in seeds]
        hits[row] = judge.logits(clips).argmax(1) == row
    return hits


def pair_top3(judge: Judge, n: int) -> float:
    """Share of two-event clips of 5.12 s whose sources are both among the three likeliest."""
    hits: list[bool] = []
    seed = SEED_OF["tests"] + _OFFSET_PAIRS
    while len(hits) < n:
        seed += 1
        sources = set(scene_of(seed).sources)
        if len(sources) == 2:
            logits = judge.logits([corpus_clip(seed).samples])[0]
            best = {judge.sources[i] for i in np.argsort(logits)[-3:]}
            hits.append(sources <= best)
    return float(np.mean(hits))


def main() -> None:
    """Measure, print, and write the results and the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-source", type=int, default=8)
    per_source = parser.parse_args().per_source
    judge = Judge.load()
    hits = {f"{s:g}": single_hits(judge, per_source, s) for s in (5.12, 2.56)}
    by_source = dict(zip(judge.sources, hits["5.12"].mean(1).tolist(), strict=True))
    weakest = sorted(by_source, key=lambda source: by_source[source])[:4]
    figures = {
        "per_source": per_source,
        "sha256": judge.sha256,
        "single_top1": {length: float(h.mean()) for length, h in hits.items()},
        "pair_top3": pair_top3(judge, 20 * per_source),
        "weakest": ", ".join(f"{s} {100 * by_source[s]:.0f} %" for s in weakest),
        "by_source": by_source,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(write_judge_card(JUDGE_FOLDER, figures))


if __name__ == "__main__":
    main()
