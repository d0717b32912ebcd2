"""Rules as a visitor writes them: read line by line, checked against the layers of a model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from ptq.config import QuantConfig, QuantRule, format_rule, format_rules, parse_rules
from ptq.errors import ConfigError
from ptq.layer_spec import LayerInfo
from ptq.plan import QuantPlan, resolve_plan
from ptq.presets import PRESETS

_MAX_CHARACTERS = 60_000
_MAX_LINE_CHARACTERS = 300
_MOST_PROBLEMS = 8
_OPTIONAL = re.compile(r"\boptional\b")
_SET_ASIDE = "# the rules before:"


@dataclass(frozen=True, kw_only=True)
class RuleProblem:
    """What is wrong with the rules, and in which line (from 1) if it is one line's fault."""

    line: int | None
    message: str

    def __str__(self) -> str:
        """One sentence that says where."""
        return f"Line {self.line} of the rules: {self.message}" if self.line else self.message


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Rules on their way to a plan: a plan, or the problems that keep them from it."""

    plan: QuantPlan | None = None
    problems: tuple[RuleProblem, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RuleLine:
    """One line of the text; ``rule`` is ``None`` for comments and blank lines."""

    number: int
    text: str
    rule: QuantRule | None


def draft_plan(text: str, layers: Sequence[LayerInfo]) -> Draft:
    """Read rules and resolve them; the first lines that cannot be read are reported."""
    if long := excess(text):
        return Draft(problems=(long,))
    problems = (problem for number, line in _numbered(text) for problem in _check(number, line))
    first = tuple(islice(problems, _MOST_PROBLEMS))
    if first:
        return Draft(problems=first)
    try:
        plan = resolve_plan(QuantConfig(name="custom", rules=parse_rules(text)), layers)
    except ConfigError as error:
        return Draft(problems=(RuleProblem(line=_guilty_line(text, error), message=str(error)),))
    return Draft(plan=plan)


def excess(text: str) -> RuleProblem | None:
    """What is too long to be read: a pattern of a book's length keeps the server busy."""
    if len(text) > _MAX_CHARACTERS:
        message = f"The rules have {len(text)} characters; use at most {_MAX_CHARACTERS}."
        return RuleProblem(line=None, message=message)
    for number, line in _numbered(text):
        if len(line) > _MAX_LINE_CHARACTERS:
            message = f"This line has {len(line)} characters; use at most {_MAX_LINE_CHARACTERS}."
            return RuleProblem(line=number, message=message)
    return None


def rule_lines(text: str) -> tuple[RuleLine, ...]:
    """The lines of rules that can all be read.

    Raises:
        ConfigError: A line cannot be read.
    """
    lines = []
    for number, line in _numbered(text):
        found = parse_rules(line)
        lines.append(RuleLine(number=number, text=line, rule=found[0] if found else None))
    return tuple(lines)


def _numbered(text: str) -> list[tuple[int, str]]:
    return list(enumerate(text.splitlines(), start=1))


def _check(number: int, line: str) -> tuple[RuleProblem, ...]:
    try:
        parse_rules(line)
    except ConfigError as error:
        # A line on its own is line 1 to the parser.
        return (RuleProblem(line=number, message=str(error).removeprefix("line 1: ")),)
    return ()


def _guilty_line(text: str, error: ConfigError) -> int | None:
    """The line whose rule the message quotes first."""
    message = str(error)
    quoted = {
        line.number: message.find(f"'{format_rule(line.rule)}'")
        for line in rule_lines(text)
        if line.rule is not None
    }
    found = {number: place for number, place in quoted.items() if place >= 0}
    return min(found, key=lambda number: found[number]) if found else None


def made_optional(text: str, layers: Sequence[LayerInfo]) -> str:
    """The same rules, of which those that others took every layer from are no error any more.

    Rules that cannot be followed for another reason stay as they are.
    """
    lines = [line.text for line in rule_lines(text)]
    while problems := draft_plan(join_lines(lines), layers).problems:
        place = problems[0].line
        if place is None or _OPTIONAL.search(lines[place - 1].partition("#")[0]):
            return text
        rule, sign, remark = lines[place - 1].partition("#")
        lines[place - 1] = f"{rule.rstrip()} optional" + f"  {sign}{remark}" * bool(sign)
    return join_lines(lines)


def preset_of(text: str) -> str | None:
    """The preset whose rules these are, word by word or in other words; ``None`` for own rules.

    Raises:
        ConfigError: A line cannot be read.
    """
    rules = parse_rules(text)
    return next((name for name, known in PRESETS.items() if known.rules == rules), None)


def join_lines(lines: Sequence[str]) -> str:
    """Lines as the text of rules."""
    return "\n".join(lines) + "\n"


def set_aside(text: str) -> str:
    """Rules as comments below others, but for those of a preset, which come back by its name."""
    known = {format_rules(preset.rules) for preset in PRESETS.values()}
    lines = [line for line in text.splitlines() if line.strip()]
    comments = [line for line in lines if line.startswith("#")]
    rules = [line for line in lines if not line.startswith("#")]
    if rules and join_lines(rules) not in known:
        comments += [_SET_ASIDE, *(f"# {line}" for line in rules)]
    return join_lines(comments) if comments else ""
