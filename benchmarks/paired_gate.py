"""Paired gates on suite A, which tell plans that are worth scoring on suite B."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.clips import ClipBank
from benchmarks.presets import PlanBench
from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.registry import lexicon_of
from ptq.banks import Banks, embed_banks
from ptq.config import QuantConfig
from ptq.errors import MetricError
from ptq.metrics.verdict import MIN_TEXT_SCORE_PCT
from ptq.plan import resolve_plan
from ptq.prompts.suites import Suite, draw_suite
from ptq.scoring import pair_embedding_scores, text_change_lower_pct

# How far a pair may be apart, 1 being as far as another seed, and a tenth of the pairs. The presets
# were non-inferior at medians of 0.008 to 0.020, and rose by 9 and 11 % at 0.085 and 0.097.
MAX_MEDIAN, MAX_TENTH = 0.03, 0.12
SUITE_SEED = 400


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Paired gates on suite A.

    Attributes:
        bench: Quantizes.
        pairs: How many are compared.
    """

    bench: PlanBench
    pairs: int

    def clips_name(self, config: QuantConfig) -> str:
        """What the clips of a plan are called."""
        return self.bench.clips_name(resolve_plan(config, layers_of(self.bench.adm)))

    def __call__(self, config: QuantConfig) -> dict[str, Any]:
        """What the gates look at, and whether all are passed."""
        adm, clips = self.bench.adm, self.clips_name(config)
        quantized = self._bank(clips, self.bench.quantized_by(config))
        banks = Banks(
            prompts=quantized.prompts,
            full=tuple(self._bank("fp", adm).clips()),
            second=tuple(self._bank("fp", adm, 1).clips()),
            quantized=tuple(quantized.clips()),
        )
        return {"name": config.name, "clips": clips, **self._judged(banks)}

    def _judged(self, banks: Banks) -> dict[str, Any]:
        defects = asdict(banks.new_defects())
        try:
            found = embed_banks(self.bench.ear, banks)
        except MetricError as error:  # too few bits, and a clip is not finite
            return {"new_defects": defects, "passed": False, "reason": str(error)}
        index = pair_embedding_scores(found)[1]
        median, tenth = (float(np.nanquantile(index, share)) for share in (0.5, 0.9))
        text = text_change_lower_pct(found, np.arange(len(index)))
        alike = median <= MAX_MEDIAN and tenth <= MAX_TENTH and not any(defects.values())
        return {
            "divergence_median": median,
            "divergence_tenth": tenth,
            "text_score_lower_pct": text,
            "new_defects": defects,
            "passed": alike and text is not None and text >= MIN_TEXT_SCORE_PCT,
        }

    def _bank(self, name: str, adm: AudioDiffusionModel, offset: int = 0) -> ClipBank:
        lexicon = lexicon_of(adm.id)
        drawn = draw_suite(Suite.EXPLORATION, self.pairs, SUITE_SEED, lexicon)
        texts = tuple(prompt.text for prompt in drawn)
        return ClipBank(name=f"a-{name}", adm=adm, prompts=texts, seed=SUITE_SEED + offset)
