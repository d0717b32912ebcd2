"""The smallest plan that passes a test: bisection over the sizes of a Pareto front."""

from collections.abc import Callable
from dataclasses import dataclass

from ptq.allocate import Allocation, Allocator


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One plan that was put to the test, and whether it passed."""

    allocation: Allocation
    passed: bool


def smallest_plan(
    allocator: Allocator, passes: Callable[[Allocation], bool], rounds: int
) -> tuple[Allocation | None, tuple[Probe, ...]]:
    """Halve the range of sizes, keeping the half in which the boundary lies.

    It is taken for granted that a larger plan passes where a smaller one does.

    Args:
        allocator: Gives the best plan of a size.
        passes: The test; it is asked at most ``rounds`` + 1 times, first about the largest plan.
        rounds: How often the range is halved.

    Returns:
        The smallest plan that passed, ``None`` if not even the largest did, and all probes.
    """
    least, most = allocator.limits()
    probes: list[Probe] = []

    def probe(size: int) -> Probe:
        allocation = allocator(size, f"allocated-{size / 1e6:.2f}MB")
        for known in probes:
            if known.allocation.plan.sha256 == allocation.plan.sha256:
                return known
        probes.append(Probe(allocation=allocation, passed=passes(allocation)))
        return probes[-1]

    best = probe(most)
    if not best.passed:
        return None, tuple(probes)
    low, high = least, best.allocation.size_bytes
    for _ in range(rounds):
        if high - low < 2:
            break
        found = probe((low + high) // 2)
        if found.passed:
            best, high = found, found.allocation.size_bytes
        else:
            low = (low + high) // 2
    return best.allocation, tuple(probes)
