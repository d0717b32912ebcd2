"""From intent to plan: every rule is checked against the layers it names before anything runs."""

import re
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase, translate
from math import lcm

from ptq.config import QuantConfig, QuantRule, format_rule
from ptq.errors import ConfigError, UnusedRuleError
from ptq.layer_spec import DENOISER, LayerInfo, LayerSpec, group_basis
from ptq.scheme import (
    KEEP,
    MAX_TIMESTEP_BUCKETS,
    Balance,
    Granularity,
    LayerScheme,
    RangeSearch,
    Rounding,
    WeightScheme,
    resolve_group_size,
)
from ptq.spelling import nearest_layers

_LAST = "{last}"


def resolve_layers(config: QuantConfig, inventory: Sequence[LayerInfo]) -> tuple[LayerSpec, ...]:
    """Return what happens to each layer of ``inventory``; the first rule that matches wins.

    Rules for attention probabilities are those with ``unsigned`` activations; all other rules but
    ``keep`` pass such sites by. Embeddings and layers that generation never runs have weights only,
    which are rounded to nearest and nothing else, as are those of grouped and transposed
    convolutions: where a rule asks for rounding by data, and for no search of ranges, theirs are
    HQQ's. Only the denoiser has timestep buckets, and no rule means keep.

    Raises:
        UnusedRuleError: for a rule that is not optional and decides no layer.
        ConfigError: for a group size that does not divide a row, or for timestep buckets that have
            too many in common.
    """
    names = [info.name for info in inventory]
    rules = [(rule, expand_last(rule.pattern, names)) for rule in config.rules]
    decided: dict[str, QuantRule] = {}
    for info in inventory:
        rule = next((r for r, pattern in rules if _applies(r, pattern, info)), None)
        if rule is not None:
            decided[info.name] = rule
    for rule, pattern in rules:
        _check_used(rule, pattern, decided, inventory)
    specs = tuple(_resolve_layer(decided.get(info.name), info) for info in inventory)
    _check_buckets(specs)
    return specs


def _check_buckets(specs: Sequence[LayerSpec]) -> None:
    """Refuse buckets whose common division would take gigabytes of histograms."""
    counts = {s.scheme.activation.timestep_buckets for s in specs if s.scheme.activation}
    if counts and lcm(*counts) > MAX_TIMESTEP_BUCKETS:
        raise ConfigError(
            f"the timestep buckets {', '.join(f't{n}' for n in sorted(counts))} have no common"
            f" division of {MAX_TIMESTEP_BUCKETS} or fewer; use one number of at most"
            f" {MAX_TIMESTEP_BUCKETS}, and its divisors."
        )


def expand_last(pattern: str, names: Sequence[str]) -> str:
    """Replace each ``{last}`` by the highest number that ``names`` have in its place."""
    while _LAST in pattern:
        head, _, tail = pattern.partition(_LAST)
        # The end of the expression is \\Z, and \\z from Python 3.14 on.
        opening = re.sub(r"\\[Zz]$", "", translate(head))
        expression = re.compile(opening + r"(\d+)(?!\d)")
        found = [int(match.group(1)) for name in names if (match := expression.match(name))]
        if not found:
            return pattern
        pattern = f"{head}{max(found)}{tail}"
    return pattern


def _applies(rule: QuantRule, pattern: str, info: LayerInfo) -> bool:
    if not fnmatchcase(info.name, pattern):
        return False
    return rule.scheme.keeps or rule.speaks_of_probabilities is not info.kind.has_weight


def _check_used(
    rule: QuantRule,
    pattern: str,
    decided: dict[str, QuantRule],
    inventory: Sequence[LayerInfo],
) -> None:
    if rule.optional or rule.pattern == "*" or any(used is rule for used in decided.values()):
        return
    covered = [info.name for info in inventory if _applies(rule, pattern, info)]
    if covered:
        raise UnusedRuleError(
            f"the rule '{format_rule(rule)}' is never reached, because"
            f" '{format_rule(decided[covered[0]])}' stands before it and takes {covered[0]};"
            " move it up."
        )
    nearest = ", ".join(nearest_layers(rule.pattern, [info.name for info in inventory]))
    raise UnusedRuleError(
        f"the rule '{format_rule(rule)}' matches no layer; the nearest layers are {nearest}."
    )


def _resolve_layer(rule: QuantRule | None, info: LayerInfo) -> LayerSpec:
    scheme = rule.scheme if rule is not None else KEEP
    weight = scheme.weight if info.kind.has_weight else None
    activation = scheme.activation if info.kind.has_input and not info.idle else None
    if activation is not None and not activation.quantizes:
        activation = None
    if activation is not None and info.part != DENOISER:
        activation = replace(activation, timestep_buckets=1)
    if weight is not None and rule is not None:
        weight = _resolve_groups(weight, rule, info)
        if not info.has_moment:
            weight = _without_data(weight)
        elif not info.bias_parameters:
            weight = replace(weight, debias=False)
    return LayerSpec(
        name=info.name,
        scheme=LayerScheme(weight=weight, activation=activation),
        split=info.split,
    )


def _without_data(weight: WeightScheme) -> WeightScheme:
    """What is left where nothing is seen: HQQ's range stands in for rounding by data.

    A range that is searched for needs none, and stays.
    """
    bare = weight.rounding.needs_data and weight.range_search is RangeSearch.MIN_MAX
    return replace(
        weight,
        range_search=RangeSearch.HQQ if bare else weight.range_search,
        rounding=Rounding.NEAREST,
        balance=Balance.NONE,
        rank=0,
        debias=False,
    )


def _resolve_groups(weight: WeightScheme, rule: QuantRule, info: LayerInfo) -> WeightScheme:
    if weight.granularity is not Granularity.PER_GROUP:
        return weight
    basis = group_basis(info)
    if weight.group_size is None:
        size = resolve_group_size(basis)
        granularity = Granularity.PER_CHANNEL if size is None else Granularity.PER_GROUP
        return replace(weight, granularity=granularity, group_size=size)
    if basis % weight.group_size:
        raise ConfigError(
            f"the rule '{format_rule(rule)}' asks for groups of {weight.group_size}, which do not"
            f" divide the row of {basis} of {info.name}; {_way_out(weight.group_size, basis)}."
        )
    return weight


def _way_out(wanted: int, basis: int) -> str:
    working = [size for size in range(2, min(basis, 1024) + 1) if basis % size == 0]
    if not working:
        return "write 'channel'"
    return f"write g{min(working, key=lambda size: abs(size - wanted))}, or 'group' for auto"
