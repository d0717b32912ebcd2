"""Bits within a budget, as rules that a visitor can read: only what differs from their own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.rules import made_optional
from ptq.allocate import Allocation, Allocator
from ptq.config import QuantConfig, QuantRule, format_rules, parse_rules
from ptq.errors import ConfigError
from ptq.layer_spec import DENOISER, LayerInfo
from ptq.plan import QuantPlan, resolve_plan
from ptq.scheme import LayerScheme
from ptq.sensitivities import Sensitivities

MEGABYTE = 1e6
_POINTS = 10
_END = "# end of the budget"
_BEGINNING = re.compile(r"# within \d+\.\d\d MB")


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
    """Plans for one model under budgets, on top of a visitor's own rules.

    Layers that those rules keep, or name by a rule of their own, stay as they are.

    Args:
        rules: Decide the layers that are not planned; what an earlier budget wrote is left out.
        layers: The model's.
        sensitivities: Of the same model.

    Raises:
        ConfigError: The rules cannot be followed, or leave nothing to plan.
    """

    def __init__(
        self, rules: str, layers: Sequence[LayerInfo], sensitivities: Sensitivities
    ) -> None:
        self._rules, self._layers, self._found = own_rules(rules), layers, sensitivities
        base = QuantConfig(name="budget", rules=parse_rules(self._rules))
        self._plan = resolve_plan(base, layers)
        fixed = _fixed(self._plan, base.rules)
        planned = {name: row for name, row in sensitivities.errors.items() if name not in fixed}
        if not planned:
            raise ConfigError(
                "Your rules keep or name every layer that could be planned; take one of them out."
            )
        self._allocator = Allocator(self._plan, layers, replace(sensitivities, errors=planned))
        self._front: tuple[FrontPoint, ...] = ()

    @property
    def limits_mb(self) -> tuple[float, float]:
        """The smallest and the largest size that can be had."""
        least, most = self._allocator.limits()
        return least / MEGABYTE, most / MEGABYTE

    def rules(self, megabytes: float) -> str:
        """The best plan within a size: what differs from the own rules, and then those.

        Raises:
            ConfigError: No plan is that small.
        """
        found = self._allocator(round(megabytes * MEGABYTE))
        specs = zip(found.plan.layers, self._plan.layers, strict=True)
        planned = ((s.name, b.scheme, _rounded_as(b.scheme, s.scheme)) for s, b in specs)
        changed = tuple(
            QuantRule(pattern=name, scheme=scheme)
            for name, before, scheme in planned
            if scheme != before
        )
        text = f"# within {megabytes:.2f} MB\n{format_rules(changed)}{_END}\n"
        # Rules that now decide nothing are no error.
        return made_optional(text + self._rules, self._layers)

    def sensitivity(self) -> Mapping[str, float]:
        """Error of each measured layer at the scheme that does it most harm."""
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


def own_rules(text: str) -> str:
    """Rules without those that a budget wrote in front of them."""
    own: list[str] = []
    written: list[str] = []  # since a beginning whose end is still to come
    for line in text.splitlines(keepends=True):
        if not written and not _BEGINNING.fullmatch(line.rstrip()):
            own.append(line)
            continue
        written.append(line)
        if line.rstrip() == _END:
            written.clear()
    return "".join(own + written)


def _rounded_as(own: LayerScheme, planned: LayerScheme) -> LayerScheme:
    """A planned scheme with a visitor's own method where both round by data."""
    method, weight = own.weight, planned.weight
    if method is None or weight is None:
        return planned
    if not (method.rounding.needs_data and weight.rounding.needs_data):
        return planned
    return replace(planned, weight=replace(weight, rounding=method.rounding))


def _fixed(plan: QuantPlan, rules: Sequence[QuantRule]) -> frozenset[str]:
    """Layers that somebody decided one by one, and those that stay in floating point."""
    kept = {spec.name for spec in plan.layers if spec.scheme.weight is None}
    return frozenset(kept | {rule.pattern for rule in rules})
