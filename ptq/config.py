"""The user's intent: ordered rules from layer names to schemes. The first rule that matches wins.

The text form of rules, one a line, is described in ``ptq.rule_text``.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ptq.errors import ConfigError
from ptq.rule_text import format_scheme, parse_scheme
from ptq.scheme import LayerScheme
from ptq.spelling import check_keys

CONFIG_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class QuantRule:
    """What happens to the layers that a glob names.

    Attributes:
        pattern: a case-sensitive ``fnmatch`` glob over ``part.layer.name``; ``{last}`` stands for
            the highest number found in its place.
        scheme: what happens to them.
        optional: whether a pattern that matches nothing is accepted, as presets need that serve
            several architectures.
    """

    pattern: str
    scheme: LayerScheme
    optional: bool = False

    def __post_init__(self) -> None:
        if not self.pattern or any(mark in self.pattern for mark in "=#\n\r\t "):
            raise ConfigError(
                f"'{self.pattern}' cannot be a pattern; write a glob such as denoiser.*attn*."
            )

    @property
    def speaks_of_probabilities(self) -> bool:
        """Whether the rule is about attention probabilities (unsigned) and not about layers."""
        return self.scheme.activation is not None and self.scheme.activation.unsigned

    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON values."""
        return {
            "pattern": self.pattern,
            "scheme": self.scheme.to_json(),
            "optional": self.optional,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "QuantRule":
        """Read what ``to_json`` wrote.

        Raises:
            UnknownKeyError: for a key that is not an attribute.
        """
        check_keys(data, ("pattern", "scheme", "optional"), owner="a rule")
        if "pattern" not in data or "scheme" not in data:
            raise ConfigError(f"the rule {dict(data)!r} needs both a pattern and a scheme.")
        return cls(
            pattern=str(data["pattern"]),
            scheme=LayerScheme.from_json(data["scheme"]),
            optional=bool(data.get("optional", False)),
        )


@dataclass(frozen=True, kw_only=True)
class QuantConfig:
    """Ordered rules with a name; a layer that no rule names is kept.

    Attributes:
        name: what reports call the configuration.
        rules: the first that matches a layer decides.
        seed: of what a quantization method draws: the order of states in BRECQ's training.
    """

    name: str
    rules: tuple[QuantRule, ...]
    seed: int = 0

    def to_json(self) -> str:
        """Return the configuration as JSON text."""
        data = {
            "schema": CONFIG_SCHEMA,
            "name": self.name,
            "seed": self.seed,
            "rules": [rule.to_json() for rule in self.rules],
        }
        return json.dumps(data, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "QuantConfig":
        """Read what ``to_json`` wrote.

        Raises:
            UnknownKeyError: for a key that no schema version knows.
            ConfigError: for text that is not JSON, or a schema that is not ours.
        """
        data = load_object(text, what="configuration", schema=CONFIG_SCHEMA)
        check_keys(data, ("schema", "name", "seed", "rules"), owner="a configuration")
        rules = data.get("rules", [])
        if not isinstance(rules, list):
            raise ConfigError(f"'rules' is {rules!r}; give a list of rules.")
        try:
            return cls(
                name=str(data.get("name", "custom")),
                rules=tuple(QuantRule.from_json(rule) for rule in rules),
                seed=int(data.get("seed", 0)),
            )
        except ConfigError:
            raise
        except (AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"the configuration is damaged ({error}); save it again.") from error


def load_object(text: str, *, what: str, schema: int) -> dict[str, Any]:
    """Return the JSON object in ``text``.

    Raises:
        ConfigError: when it is not a JSON object of the given schema version.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the {what} is not JSON ({error}); save it again.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"the {what} is a JSON {type(data).__name__}; it must be an object.")
    if data.get("schema") != schema:
        raise ConfigError(
            f"the {what} has schema {data.get('schema')!r}; this version reads schema"
            f" {schema}: write it again with this version."
        )
    return data


def parse_rules(text: str) -> tuple[QuantRule, ...]:
    """Return the rules written in ``text``, one a line (grammar: ``ptq.rule_text``).

    Raises:
        ConfigError: naming the line and the nearest right word.
    """
    rules = []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if content:
            rules.append(_parse_line(number, content))
    return tuple(rules)


def _parse_line(number: int, content: str) -> QuantRule:
    pattern, equals, right = content.partition("=")
    if not equals:
        raise ConfigError(f"line {number}: '{content}' has no '='; write 'pattern = w4a8'.")
    words = right.split()
    try:
        return QuantRule(
            pattern=pattern.strip(),
            scheme=parse_scheme(word for word in words if word != "optional"),
            optional="optional" in words,
        )
    except ConfigError as error:
        raise ConfigError(f"line {number}: {error}") from error


def format_rule(rule: QuantRule) -> str:
    """Return one rule as a line of text."""
    return f"{rule.pattern} = {format_scheme(rule.scheme)}{' optional' if rule.optional else ''}"


def format_rules(rules: Iterable[QuantRule]) -> str:
    """Return text that ``parse_rules`` reads back as ``rules``."""
    return "".join(f"{format_rule(rule)}\n" for rule in rules)
