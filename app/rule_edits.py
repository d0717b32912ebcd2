"""An edit of the layer grid as rules: put before the others, because the first match wins."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from app.components.layer_grid.edit import LayerEdit
from app.components.layer_grid.value import FLOAT_BITS
from app.rules import draft_plan, join_lines, made_optional, rule_lines
from ptq.config import QuantRule, format_rule
from ptq.errors import ConfigError
from ptq.layer_spec import DENOISER, LayerInfo, LayerSpec, group_basis
from ptq.plan import QuantPlan
from ptq.scheme import (
    ActivationScheme,
    Granularity,
    LayerScheme,
    Rounding,
    WeightScheme,
    resolve_group_size,
)

Change = tuple[LayerInfo, LayerScheme]


def apply_edit(text: str, edit: LayerEdit, layers: Sequence[LayerInfo]) -> str:
    """Return the rules with the edit in front, and without what it made pointless.

    Raises:
        ConfigError: The rules cannot be followed as they are, or the edit names no layer.
    """
    draft = draft_plan(text, layers)
    if draft.plan is None:
        raise ConfigError("The rules have an error; correct it first, then edit the table.")
    specs = {spec.name: spec for spec in draft.plan.layers}
    changes = [(info, _edited(specs[info.name], info, edit)) for info in _affected(edit, layers)]
    if not changes:
        raise ConfigError("The edit matches no layer of this model; clear the filter.")
    fresh = [format_rule(rule) for rule in _rules(changes, edit)]
    shadowed = {info.name for info, _ in changes} | {edit.pattern}
    kept = [
        line.text
        for line in rule_lines(text)
        if line.rule is None or line.rule.pattern not in shadowed
    ]
    edited = join_lines([*fresh, *kept])
    return made_optional(edited, layers)


def with_rounding(text: str, rounding: Rounding) -> str:
    """Return the rules with another rounding of the denoiser's weights.

    A rule for everything is left to the other parts, with one for the denoiser before it. Patterns
    that begin with a star and go on stay as they are.

    Raises:
        ConfigError: The rules cannot be followed as they are.
    """
    lines = []
    for line in rule_lines(text):
        rule = line.rule
        pattern = None if rule is None else _denoiser_pattern(rule)
        if rule is None or rule.scheme.weight is None or pattern is None:
            lines.append(line.text)
            continue
        weight = replace(rule.scheme.weight, rounding=rounding)
        scheme = replace(rule.scheme, weight=weight)
        optional = rule.optional or pattern != rule.pattern
        changed = replace(rule, pattern=pattern, scheme=scheme, optional=optional)
        lines.append(format_rule(changed))
        if pattern != rule.pattern:
            lines.append(line.text)
    return join_lines(lines)


def common_rounding(text: str, plan: QuantPlan, layers: Sequence[LayerInfo]) -> Rounding | None:
    """The method that rules round the denoiser's weights by; ``None`` for none or several.

    Layers that cannot be rounded by data are not asked: choosing the method changes nothing there.

    Args:
        text: The rules.
        plan: What they come to.
        layers: The model's.
    """
    weights = [spec.scheme.weight for spec in plan.layers if spec.part == DENOISER]
    used = {weight.rounding for weight in weights if weight is not None}
    if len(used) == 1:
        return used.pop()
    for method in used - {Rounding.NEAREST} if len(used) == 2 else ():
        alike = draft_plan(with_rounding(text, method), layers).plan
        if alike is not None and alike.layers == plan.layers:
            return method
    return None


def _denoiser_pattern(rule: QuantRule) -> str | None:
    if rule.pattern == "*":
        return f"{DENOISER}.*"
    return rule.pattern if rule.pattern.startswith(DENOISER) else None


def _affected(edit: LayerEdit, layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    names = frozenset(edit.names)
    if edit.pattern is None:
        return [info for info in layers if info.name in names]
    return [info for info in layers if fnmatchcase(info.name, edit.pattern)]


def _rules(changes: Sequence[Change], edit: LayerEdit) -> Iterator[QuantRule]:
    """One rule for what most layers get, after one for each layer that gets something else."""
    # Attention probabilities are spoken of by rules of their own, all but 'keep'.
    sites = [(info, scheme) for info, scheme in changes if not info.kind.has_weight]
    if not all(scheme.keeps for _, scheme in sites):
        yield from _rules_of_kind(sites, edit.pattern)
    elif edit.activation_bits is not None:
        yield from _rules_of_kind(sites, None)
    yield from _rules_of_kind([each for each in changes if each[0].kind.has_weight], edit.pattern)


def _rules_of_kind(changes: Sequence[Change], pattern: str | None) -> Iterator[QuantRule]:
    common = Counter(scheme for _, scheme in changes).most_common(1)
    for info, scheme in changes:
        if pattern is None or _as_resolved(common[0][0], info) != scheme:
            yield QuantRule(pattern=info.name, scheme=scheme, optional=True)
    if pattern is not None and common:
        yield QuantRule(pattern=pattern, scheme=common[0][0], optional=True)


def _as_resolved(scheme: LayerScheme, info: LayerInfo) -> LayerScheme:
    return scheme if info.kind.has_input else replace(scheme, activation=None)


def _edited(spec: LayerSpec, info: LayerInfo, edit: LayerEdit) -> LayerScheme:
    weight, activation = _without_size(spec.scheme.weight, info), spec.scheme.activation
    if info.kind.has_weight and edit.weight_bits is not None:
        weight = _weight(edit.weight_bits, weight)
    if info.kind.has_input and edit.activation_bits is not None:
        activation = _activation(edit.activation_bits, activation, info)
    return LayerScheme(weight=weight, activation=activation)


def _weight(bits: int, old: WeightScheme | None) -> WeightScheme | None:
    if bits == FLOAT_BITS:
        return None
    default = WeightScheme.default(bits)
    if old is None:
        return default
    return replace(
        old,
        bits=bits,
        granularity=default.granularity,
        group_size=None,
        symmetric=default.symmetric,
    )


def _activation(
    bits: int, old: ActivationScheme | None, info: LayerInfo
) -> ActivationScheme | None:
    if bits == FLOAT_BITS:
        return None
    if old is not None:
        return replace(old, bits=bits)
    return ActivationScheme(bits=bits, unsigned=not info.kind.has_weight)


def _without_size(weight: WeightScheme | None, info: LayerInfo) -> WeightScheme | None:
    """A group size that ``auto`` would find again is not worth a rule of its own."""
    if weight is None or weight.granularity is not Granularity.PER_GROUP:
        return weight
    found = weight.group_size == resolve_group_size(group_basis(info))
    return replace(weight, group_size=None) if found else weight
