"""What the Configure tab does."""

import math
from typing import Any

import gradio as gr

from app.budget import MEGABYTE, Budget, own_rules
from app.components.layer_grid import LayerEdit
from app.components.notice import NoticeValue
from app.handlers.explain import explained, warn
from app.present import grid_value, plan_summary, rule_notice, word_notice
from app.rule_edits import apply_edit, common_rounding, with_rounding
from app.rules import preset_of, set_aside
from app.workbench import Workbench
from ptq.adms.registry import AdmState
from ptq.config import format_rules
from ptq.errors import ConfigError
from ptq.presets import preset
from ptq.prompts.vocabulary import unknown_words
from ptq.scheme import Rounding

# Notice, grid, summary, method of rounding, way back to the preset, slider of sizes.
Shown = tuple[Any, Any, Any, Any, Any, Any]
Changed = str | dict[str, Any]

# A hint while the visitor types need not read a book.
_READ_CHARACTERS = 4000


def budget_bounds(budget: Budget, megabytes: float) -> dict[str, Any]:
    """What the slider of sizes shows.

    Args:
        budget: What it chooses among.
        megabytes: Size of the present plan.
    """
    least, most = budget.limits_mb
    lowest, highest = math.ceil(100 * least) / 100, math.floor(100 * most) / 100
    return {
        "value": min(max(round(megabytes, 2), lowest), highest),
        "minimum": lowest,
        "maximum": highest,
        "visible": True,
    }


def _left_alone() -> dict[str, Any]:
    """For rules that stay: the visitor may have changed them since they were sent."""
    nothing: dict[str, Any] = gr.skip()
    return nothing


class ConfigureHandlers:
    """Answers the events of the editor.

    Args:
        workbench: What the page works on.
    """

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench

    @explained
    def check_rules(self, adm: str, rules: str) -> Shown:
        """Show what the rules do to every layer, or which line is wrong; the grid keeps then."""
        draft = self.workbench.draft(adm, rules)
        if draft.plan is None:
            back = gr.Button(interactive=True)
            return rule_notice(draft.problems), gr.skip(), gr.skip(), gr.skip(), back, gr.skip()
        layers, known = self.workbench.layers(adm), self.workbench.budget(adm)
        grid = grid_value(draft.plan, layers, None if known is None else known.sensitivity())
        rounding = common_rounding(rules, draft.plan, layers)
        return (
            rule_notice(()),
            grid,
            plan_summary(draft.plan, layers),
            gr.Radio(value=None if rounding is None else rounding.value),
            gr.Button(interactive=preset_of(rules) is None),
            gr.Slider(**self.sizes(adm, rules)),
        )

    def sizes(self, adm: str, rules: str) -> dict[str, Any]:
        """What the slider of sizes shows beside some rules."""
        plan = self.workbench.draft(adm, rules).plan
        try:
            budget = None if plan is None else self.workbench.budget(adm, rules)
        except ConfigError:  # every layer is decided one by one
            budget = None
        if plan is None or budget is None:
            return {"visible": False}
        return budget_bounds(budget, plan.size_bytes(self.workbench.layers(adm)) / MEGABYTE)

    @explained
    def choose_preset(self, name: str, rules: str) -> str:
        """Begin anew with the rules of a preset; a visitor's own are kept below as comments."""
        return format_rules(preset(name).rules) + set_aside(own_rules(rules))

    @explained
    def choose_rounding(self, rules: str, rounding: str) -> Changed:
        """Round the denoiser's weights by another method; rules with an error stay."""
        try:
            return with_rounding(rules, Rounding(rounding))
        except ConfigError as error:
            warn(error)
            return _left_alone()

    @explained
    def replan(self, adm: str, rules: str, megabytes: float) -> Changed:
        """Put the best plan within a size in front of the rules; what they fix stays."""
        # The slider's number lets go whenever it is left, changed or not.
        if self.sizes(adm, rules).get("value") == megabytes:
            return _left_alone()
        try:
            budget = self.workbench.budget(adm, rules)
            return _left_alone() if budget is None else budget.rules(megabytes)
        except ConfigError as error:
            warn(error)
            return _left_alone()

    @explained
    def choose_adm(self, adm: str, rules: str, prompts: str) -> tuple[Any, ...]:
        """Show another model's layers, and sample it as it is normally sampled."""
        spec, limits = self.workbench.shelf.load(adm).spec, self.workbench.settings
        longest = self.workbench.longest_s(adm)
        return (
            gr.Slider(value=min(spec.default_steps, limits.max_steps)),
            gr.Slider(value=spec.default_guidance),
            gr.Slider(value=min(spec.default_seconds, longest), maximum=longest),
            self.check_prompts(adm, prompts),
            *self.check_rules(adm, rules),
        )

    @explained
    def edit_layers(self, adm: str, rules: str, event: gr.EventData) -> tuple[Any, ...]:
        """Turn an edit of the grid into a rule in front of the others; undo what cannot be."""
        try:
            rules = apply_edit(rules, LayerEdit.from_event(event), self.workbench.layers(adm))
        except ConfigError as error:
            warn(error)
            return _left_alone(), *self.check_rules(adm, rules)
        return rules, *self.check_rules(adm, rules)

    @explained
    def check_prompts(self, adm: str, prompts: str) -> NoticeValue:
        """Mark words that an embedded model cannot know."""
        if self.workbench.shelf.card(adm).state is not AdmState.EMBEDDED:
            return {}
        return word_notice(unknown_words(prompts[:_READ_CHARACTERS]))
