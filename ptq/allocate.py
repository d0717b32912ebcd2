"""Bits under a budget: each layer gets the scheme with which all together mind least.

A multiple-choice knapsack: the errors of single layers are added up (HAWQ-v3, Yao et al. 2021,
arXiv 2011.10680; MixDQ, Zhao et al. 2024, arXiv 2405.17873, solve the same program), and the
cheapest sum within the budget is found, exactly but for the solver's tolerance. That errors add up
is an assumption, which a study of the plan has to confirm. Ranges that are taken anew in every call
cost no bytes but time: each has a price, which is added to its error, so that a layer gets them
only where they are worth it.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ptq.config import QuantConfig, QuantRule
from ptq.errors import ConfigError
from ptq.knapsack import Item, cheapest
from ptq.layer_spec import DENOISER, LayerInfo, LayerSpec
from ptq.plan import QuantPlan, resolve_plan
from ptq.scheme import LayerScheme
from ptq.sensitivities import Sensitivities

# Projections of one attention are given the same bits, for runtimes that fuse them.
_COUPLED = re.compile(r"\.to_(?:q|k|v)$")
# The price of dynamic ranges of one input, as a share of the least sum of errors that static ones
# can have.
_WORTHWHILE = 0.01
_SLACK_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """A plan under a budget.

    Attributes:
        plan: What happens to each layer.
        error: Sum of the errors that the measured layers have with it.
        size_bytes: Bytes of all layers.
    """

    plan: QuantPlan
    error: float
    size_bytes: int

    def config(self) -> QuantConfig:
        """The plan as rules, one a layer."""
        rules = tuple(QuantRule(pattern=spec.name, scheme=spec.scheme) for spec in self.plan.layers)
        return QuantConfig(name=self.plan.name, rules=rules, seed=self.plan.seed)


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """One way for a set of layers that share their bits."""

    specs: tuple[LayerSpec, ...]
    bytes_: int
    bits: int
    error: float
    price: float

    @property
    def minded(self) -> float:
        """What the solver adds up."""
        return self.error + self.price


class Allocator:
    """Allocates bits to the measured layers of a base plan; all others stay as they are.

    Args:
        base: Decides the layers that were not measured.
        inventory: The model's layers.
        sensitivities: Errors of the measured layers.

    Attributes:
        base: The base plan.

    Raises:
        ConfigError: If a measured layer is missing, or coupled layers were measured differently.
    """

    def __init__(
        self, base: QuantPlan, inventory: Sequence[LayerInfo], sensitivities: Sensitivities
    ) -> None:
        self.base, self._inventory = base, tuple(inventory)
        infos = {info.name: info for info in inventory}
        missing = next((name for name in sensitivities.errors if name not in infos), None)
        if missing is not None:
            raise ConfigError(
                f"the sensitivities name the layer '{missing}', which this model does not have;"
                " measure them for this model."
            )
        price = _WORTHWHILE * _least_static(sensitivities)
        self._choices = [
            _choices(names, infos, sensitivities, price)
            for names in _coupled(sensitivities.errors).values()
        ]
        others = [spec for spec in base.layers if spec.name not in sensitivities.errors]
        self._fixed = sum(spec.bytes_stored(infos[spec.name]) for spec in others)
        self._fixed_bits = sum(
            nominal_bits(spec, infos[spec.name])
            for spec in others
            if infos[spec.name].part == DENOISER
        )

    def limits(self) -> tuple[int, int]:
        """The smallest and the largest size that can be had, in bytes."""
        sizes = [[choice.bytes_ for choice in choices] for choices in self._choices]
        return self._fixed + sum(map(min, sizes)), self._fixed + sum(map(max, sizes))

    def __call__(self, size_bytes: int, name: str = "allocated") -> Allocation:
        """Return the plan with the least sum of errors and prices within a size.

        Raises:
            ConfigError: If no plan is that small.
        """
        least, _ = self.limits()
        if size_bytes < least:
            raise ConfigError(
                f"no plan takes {size_bytes / 1e6:.2f} MB; ask for {_hundredths_up(least / 1e6)} MB"
                " or more."
            )
        chosen = self._best(size_bytes - self._fixed, lambda choice: choice.bytes_, _SLACK_BYTES)
        return self._allocation(chosen, name)

    def with_mean_bits(self, bits: float, name: str = "allocated") -> Allocation:
        """Return the plan with the least sum of errors and prices within mean bits of the denoiser.

        Args:
            bits: nominal bits a weight, kept ones counting 16; scales and branches are not counted,
                which a budget of bytes does.
            name: of the plan.

        Raises:
            ConfigError: If no plan has so few.
        """
        weights = sum(info.parameters for info in self._inventory if info.part == DENOISER)
        budget = math.floor(bits * weights) - self._fixed_bits
        least = sum(min(choice.bits for choice in row) for row in self._choices)
        if budget < least:
            lowest = _hundredths_up((least + self._fixed_bits) / weights)
            raise ConfigError(
                f"no plan has {bits:g} bits a weight of the denoiser; ask for {lowest} or more."
            )
        chosen = self._best(budget, lambda choice: choice.bits, 8 * _SLACK_BYTES)
        return self._allocation(chosen, name)

    def _best(self, budget: int, cost: Callable[[_Choice], int], slack: int) -> list[_Choice]:
        rows = [
            [Item(place=i, value=c.minded, cost=cost(c)) for i, c in enumerate(choices)]
            for choices in self._choices
        ]
        taken = cheapest(rows, budget, slack)
        return [choices[item.place] for choices, item in zip(self._choices, taken, strict=True)]

    def _allocation(self, chosen: Sequence[_Choice], name: str) -> Allocation:
        specs = {spec.name: spec for choice in chosen for spec in choice.specs}
        layers = tuple(specs.get(spec.name, spec) for spec in self.base.layers)
        plan = replace(self.base, name=name, layers=layers)
        return Allocation(
            plan=plan,
            error=sum(choice.error for choice in chosen),
            size_bytes=plan.size_bytes(self._inventory),
        )

    def front(self, points: int = 12) -> tuple[Allocation, ...]:
        """Return the best plans from the smallest size to the largest, without repetitions."""
        least, most = self.limits()
        sizes = np.linspace(least, most, points)
        found = {a.plan.sha256: a for a in (self(int(np.ceil(size))) for size in sizes)}
        return tuple(sorted(found.values(), key=lambda allocation: allocation.size_bytes))


def _coupled(errors: Mapping[str, Mapping[str, float]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in errors:
        groups.setdefault(_COUPLED.sub(".to_qkv", name), []).append(name)
    return groups


def _choices(
    names: Sequence[str],
    infos: Mapping[str, LayerInfo],
    sensitivities: Sensitivities,
    price: float,
) -> list[_Choice]:
    options = sensitivities.schemes(names[0])
    different = next((n for n in names if set(sensitivities.errors[n]) != set(options)), None)
    if different is not None:
        raise ConfigError(
            f"{different} shares its bits with {names[0]} but was measured with other schemes;"
            " measure both alike."
        )
    found = []
    for words, scheme in options.items():
        rules = tuple(QuantRule(pattern=name, scheme=scheme) for name in names)
        layers = [infos[name] for name in names]
        specs = resolve_plan(QuantConfig(name=words, rules=rules), layers).layers
        found.append(
            _Choice(
                specs=specs,
                bytes_=sum(spec.bytes_stored(infos[spec.name]) for spec in specs),
                bits=sum(nominal_bits(spec, infos[spec.name]) for spec in specs),
                error=sum(sensitivities.errors[n][words] for n in names),
                price=price if _is_dynamic(scheme) else 0.0,
            )
        )
    return found


def _is_dynamic(scheme: LayerScheme) -> bool:
    return scheme.activation is not None and not scheme.activation.is_static


def _least_static(sensitivities: Sensitivities) -> float:
    """The least sum of errors without dynamic ranges; of layers that know no other, nothing."""
    return sum(
        min(
            (
                row[words]
                for words, scheme in sensitivities.schemes(name).items()
                if not _is_dynamic(scheme)
            ),
            default=0.0,
        )
        for name, row in sensitivities.errors.items()
    )


def nominal_bits(spec: LayerSpec, info: LayerInfo) -> int:
    """Bits of a layer's weights, 16 each where they are kept; scales are not counted."""
    return info.parameters * spec.scheme.weight_bits


def _hundredths_up(value: float) -> str:
    """A number that is enough when it is read: rounding to nearest may fall short."""
    return f"{math.ceil(value * 100) / 100:.2f}"
