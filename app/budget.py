"""Bits within a budget, as rules that a visitor can read: only what differs from the preset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ptq.allocate import Allocation, Allocator
from ptq.config import QuantConfig, QuantRule, format_rules
from ptq.layer_spec import DENOISER, LayerInfo
from ptq.plan import resolve_plan
from ptq.sensitivities import Sensitivities

MEGABYTE = 1e6
_POINTS = 10


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """One plan of the Pareto front.

    Attributes:
        megabytes: Of all layers.
        bits: A weight of the denoiser, on average.
        error: Sum of the layers' errors.
    """

    megabytes: float
    bits: float
    error: float


class Budget:
    """Plans for one model under budgets.

    Args:
        base: Decides the layers that were not measured, and names the plans.
        layers: The model's.
        sensitivities: Of the same model.
    """

    def __init__(
        self, base: QuantConfig, layers: Sequence[LayerInfo], sensitivities: Sensitivities
    ) -> None:
        self._base, self._layers, self._found = base, layers, sensitivities
        self._plan = resolve_plan(base, layers)
        self._allocator = Allocator(self._plan, layers, sensitivities)
        self._front: tuple[FrontPoint, ...] = ()

    @property
    def limits_mb(self) -> tuple[float, float]:
        """The smallest and the largest size that can be had."""
        least, most = self._allocator.limits()
        return least / MEGABYTE, most / MEGABYTE

    @property
    def base_mb(self) -> float:
        """Size of the base plan."""
        return self._plan.size_bytes(self._layers) / MEGABYTE

    def rules(self, megabytes: float) -> str:
        """The best plan within a size: what differs from the base, and then the base's own rules.

        Raises:
            ConfigError: No plan is that small.
        """
        found = self._allocator(round(megabytes * MEGABYTE))
        specs = zip(found.plan.layers, self._plan.layers, strict=True)
        changed = tuple(
            QuantRule(pattern=spec.name, scheme=spec.scheme)
            for spec, before in specs
            if spec.scheme != before.scheme
        )
        # Rules of the base that now decide nothing are no error.
        return format_rules((*changed, *self._base.rules))

    def sensitivity(self) -> Mapping[str, float]:
        """Error of each measured layer at the coarsest scheme it was measured with."""
        return {name: max(row.values()) for name, row in self._found.errors.items()}

    def front(self) -> tuple[FrontPoint, ...]:
        """The best plans from the smallest size to the largest; solved once."""
        if not self._front:
            self._front = tuple(map(self._point, self._allocator.front(_POINTS)))
        return self._front

    def _point(self, found: Allocation) -> FrontPoint:
        return FrontPoint(
            megabytes=found.size_bytes / MEGABYTE,
            bits=found.plan.weight_bits_mean(self._layers, DENOISER),
            error=found.error,
        )
