"""Do errors add up? What an allocation takes for granted, checked on plans of the front."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats as statistics

from ptq.affine import relative_error
from ptq.allocate import Allocation
from ptq.calibration.replay import Replay
from ptq.calibration.rounding import rounded_weights
from ptq.layer_spec import DENOISER
from ptq.observers import CalibrationStats
from ptq.quantize import quantize_

FEWEST_PLANS = 3


@dataclass(frozen=True, kw_only=True)
class Additivity:
    """Sums of single errors against the error of the whole, plan by plan.

    Attributes:
        predicted: Sum of the layers' errors.
        measured: Error of the guided prediction with all of them quantized.
    """

    predicted: tuple[float, ...]
    measured: tuple[float, ...]

    @property
    def correlation(self) -> float | None:
        """Pearson's r of their logarithms; ``None`` of too few plans or without spread."""
        if not self._can_tell:
            return None
        return float(statistics.pearsonr(np.log(self.predicted), np.log(self.measured)).statistic)

    @property
    def rank_correlation(self) -> float | None:
        """Spearman's ρ; ``None`` likewise."""
        if not self._can_tell:
            return None
        return float(statistics.spearmanr(self.predicted, self.measured).statistic)

    @property
    def ratio(self) -> float | None:
        """Median of measured to predicted: above one where errors make each other worse.

        It means something where both are errors of the same kind; ``None`` where nothing is
        predicted.
        """
        pairs = zip(self.measured, self.predicted, strict=True)
        ratios = [measured / predicted for measured, predicted in pairs if predicted > 0]
        return float(np.median(ratios)) if ratios else None

    @property
    def _can_tell(self) -> bool:
        both = (self.predicted, self.measured)
        spread = all(len(set(values)) > 1 and min(values) > 0 for values in both)
        return spread and len(self.predicted) >= FEWEST_PLANS


@dataclass(frozen=True, kw_only=True, eq=False)
class AdditivityCheck:
    """Quantizes with whole plans and measures.

    Attributes:
        replay: The full-precision model, and states that nothing was fitted to.
        fitting: The same model, and the states that rounding looks at.
        stats: Serve every plan.
    """

    replay: Replay
    fitting: Replay
    stats: CalibrationStats

    def __call__(self, plans: Sequence[Allocation]) -> Additivity:
        """Measure the plans of a front."""
        exact = self.replay.predictions()
        measured = []
        for found in plans:
            # Other parts have no term in the sum, so they stay as they are.
            own = tuple(s for s in found.plan.layers if s.part == DENOISER)
            plan = replace(found.plan, layers=own)
            codes = rounded_weights(self.fitting, plan, self.stats)
            other = copy.deepcopy(self.replay.adm)
            quantize_(other.parts(), plan, self.stats, weights=codes)
            replay = Replay(
                adm=other, states=self.replay.states, should_stop=self.replay.should_stop
            )
            measured.append(relative_error(exact, replay.predictions()))
        return Additivity(predicted=tuple(found.error for found in plans), measured=tuple(measured))
