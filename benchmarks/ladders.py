"""Plans of ever fewer bits, method by method, and the search for the lowest that passes."""

from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType

from benchmarks.allocations import allocator_of, rebuilt
from benchmarks.claim import OURS, REBUILT, REST, RIVALS
from ptq.adms.base import AudioDiffusionModel
from ptq.allocate import Allocator
from ptq.config import QuantConfig, parse_rules
from ptq.errors import ConfigError

_BITS = (8, 6, 5, 4, 3, 2)
# The question is how few bits weights can do with: activations take the same 8 everywhere. Their
# ranges are static, as these methods have them, and once dynamic, for PTQ4ADM may have a few such.
_UNIFORM = MappingProxyType(
    {
        **RIVALS,
        "GPTQ in groups": "denoiser.* = w{bits} asym group mse gptq a8 optional",
        "GPTQ in groups, dynamic": "denoiser.* = w{bits} asym group mse gptq a8 dynamic optional",
    }
)
METHODS = (*_UNIFORM, OURS, REBUILT)
_MEAN_BITS = (8.0, 7.0, 6.0, 5.5, 5.0, 4.75, 4.5, 4.25, 4.0, 3.75, 3.5, 3.25, 3.0, 2.75, 2.5)


def ladder(name: str, adm: AudioDiffusionModel) -> tuple[QuantConfig, ...]:
    """Plans of a method, most bits first."""
    if name in _UNIFORM:
        rules = f"{_UNIFORM[name]}\n{REST}"
        return tuple(
            QuantConfig(name=f"{name} {bits}", rules=parse_rules(rules.format(bits=bits)))
            for bits in _BITS
        )
    ours = tuple(_allocations(allocator_of(adm)))
    if name == OURS:
        return ours
    return tuple(rebuilt(plan, plan.name.replace(OURS, REBUILT)) for plan in ours)


def _allocations(allocator: Allocator) -> Iterator[QuantConfig]:
    for bits in _MEAN_BITS:
        try:
            yield allocator.with_mean_bits(bits, f"{OURS} {bits:g}").config()
        except ConfigError:  # the schemes that were measured go no lower
            return


def lowest(
    rungs: Sequence[QuantConfig], passes: Callable[[QuantConfig], bool]
) -> QuantConfig | None:
    """The last rung that passes, by bisection; ``None`` if not even the first does.

    It is taken for granted that a rung passes if a lower one does.
    """
    if not passes(rungs[0]):
        return None
    good, bad = 0, len(rungs)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if passes(rungs[middle]) else (good, middle)
    return rungs[good]


def climbing(
    rungs: Sequence[QuantConfig], low: QuantConfig | None, most: int
) -> tuple[QuantConfig | None, ...]:
    """The rung that was found, and so many of those above it, upwards."""
    if low is None:
        return (None,)
    place = rungs.index(low)
    return tuple(rungs[max(0, place - most) : place + 1][::-1])
