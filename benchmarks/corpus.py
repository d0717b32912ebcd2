"""How fast the corpus is rendered: ``python -m benchmarks.corpus [--clips 200]``.

One process of one thread renders clips as the trainings draw them. Every source alone stands
beside that, the slowest first.
"""

import argparse
import time
from collections.abc import Callable

from assets.recipe.corpus import SEED_OF, corpus_clip, single_source_clip
from benchmarks.clips import SETTINGS
from benchmarks.records import write_results
from ptq.prompts.lexicon import default_lexicon
from ptq.report_markdown import table

_FIRST = SEED_OF["tests"]
_ALONE = 4


def main() -> None:
    """Render, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200)
    arguments = parser.parse_args()
    seconds = SETTINGS.seconds
    corpus_clip(_FIRST, seconds)  # what is loaded once
    rate = _per_second(arguments.clips, lambda i: corpus_clip(_FIRST + i, seconds))
    alone = {source.id: _alone(source.id, seconds) for source in default_lexicon().embedded}
    slowest = sorted(alone.items(), key=lambda item: item[1])
    result = {"seconds": seconds, "clips": arguments.clips, "clips_per_second": rate}
    path = write_results("corpus", {**result, "by_source": dict(slowest)})
    print(f"{rate:.0f} clips of {seconds} s a second on one core")
    print(table(("source", "clips a second"), [(name, f"{v:.0f}") for name, v in slowest[:8]]))
    print(path)


def _alone(source: str, seconds: float) -> float:
    return _per_second(_ALONE, lambda i: single_source_clip(source, _FIRST + i, seconds))


def _per_second(count: int, render: Callable[[int], object]) -> float:
    start = time.perf_counter()
    for i in range(count):
        render(i)
    return round(count / (time.perf_counter() - start), 1)


if __name__ == "__main__":
    main()
