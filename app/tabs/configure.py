"""The Configure tab: which model, which sounds, and how many bits for each layer."""

from dataclasses import dataclass

import gradio as gr

from app.components.chips import Chips
from app.components.fact_table import FactTable
from app.components.layer_grid import LayerGrid
from app.components.notice import Notice
from app.handlers.configure import ConfigureHandlers
from app.present import adm_title
from app.study_request import (
    DEFAULT_CALIBRATION_PROMPTS,
    DEFAULT_CALIBRATION_STATES,
    DEFAULT_COVERING,
    DEFAULT_PRESET,
    DEFAULT_STRATEGY,
    MAX_CALIBRATION_PROMPTS,
    MAX_CALIBRATION_STATES,
)
from app.suggestions import starting_prompts, suggestions
from app.tabs.wiring import LATEST, QUIET
from app.workbench import Workbench
from ptq.config import format_rules
from ptq.presets import PRESETS, preset
from ptq.scheme import Rounding
from ptq.study_config import STRATEGY_NAMES

_GLOSSARY = """
- **Bits** say how finely a number is stored: 8 bits know 256 values, 4 bits know 16, a float about
  four billion. Fewer bits make a smaller file and a rougher sound.
- **Weights** (`w`) are what the model has learned; they decide its size. **Activations** (`a`) are
  the numbers that flow through it while it works.
- **Static** ranges for activations are measured beforehand, on the calibration prompts;
  **dynamic** ones are taken from each input on the fly.
- **Channel, group, tensor** (`channel`, `g64`, `tensor`): how many weights share one scale. Smaller
  groups follow the weights better and cost a little space.
- **Symmetric, asymmetric** (`sym`, `asym`): whether the levels are centred on zero.
- **`mse`, `minmax`, `p99.9`**: how the range is chosen. Cutting off rare extremes makes the steps
  finer for everything else.
- **`gptq`**: each weight is rounded so that it makes up for the rounding errors before it, as the
  calibration prompts show them; **`adaround`** learns which way to round, and **`brecq`** goes on
  from `gptq` for the layers of a block together; both take minutes. Without any, weights are
  rounded to nearest. **`hqq`** looks for a range in which few weights are wrong.
- **`smooth`**, **`smooth-time`**: loud input channels are made quieter and the weights louder in
  return, which changes nothing until both are rounded. **`r32`** keeps a weight's 32 strongest
  patterns as floats beside the codes. **`debias`** takes the mean error out of a layer's output.
- **`t10`**: ten activation ranges, one for each tenth of the denoising steps.
- **`keep`** leaves a layer as it is. The first rule that matches a layer decides.
"""


@dataclass(frozen=True, kw_only=True)
class ConfigureTab:
    """What other tabs need of this one; ``inputs`` are in the order of ``StudyRequest``."""

    inputs: list[gr.components.Component]
    preset: gr.Radio
    go: gr.Button
    opened: list[gr.components.Component]
    shown: list[gr.components.Component]


def build_configure(handlers: ConfigureHandlers) -> ConfigureTab:
    """Build the tab."""
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            adm, prompts, words = _build_sounds(handlers)
        with gr.Column(scale=2, min_width=300):
            sampling = _build_sampling(handlers.workbench, adm.value)
    gr.Markdown(
        "## Bits\nStart from a preset, then change single layers in the table, or write rules: "
        "each line says what happens to the layers that its pattern names.",
        elem_classes="lead",
    )
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            chosen, back, rules, problem = _build_rules()
            rounding, budget = _build_methods(handlers, adm.value, rules.value)
        with gr.Column(scale=2, min_width=300):
            summary = FactTable(elem_id="plan-summary")
            with gr.Accordion("What do these words mean?", open=False):
                gr.Markdown(_GLOSSARY, elem_classes="glossary")
    grid = LayerGrid(elem_id="grid")
    go = gr.Button("Next: run it", variant="primary", elem_id="go")
    shown = [problem, grid, summary, rounding, back, budget]
    seed, steps, guidance, seconds, *calibration = sampling
    rules.change(handlers.check_rules, [adm, rules], shown, **LATEST)
    # A radio button that is on cannot be pressed again: the way back needs one of its own.
    for begin in (chosen.input, back.click):
        begin(handlers.choose_preset, [chosen, rules], rules, **LATEST)
    rounding.input(handlers.choose_rounding, [rules, rounding], rules, **LATEST)
    budget.release(handlers.replan, [adm, rules, budget], rules, **LATEST)
    # The grid itself sends one edit after the other.
    grid.edited(
        handlers.edit_layers, [adm, rules], [rules, *shown], trigger_mode="multiple", **QUIET
    )
    adm.input(
        handlers.choose_adm,
        [adm, rules, prompts],
        [steps, guidance, seconds, words, *shown],
        **LATEST,
    )
    inputs = [adm, prompts, rules, chosen, seed, steps, guidance, seconds]
    inputs += calibration
    return ConfigureTab(inputs=inputs, preset=chosen, go=go, opened=[adm, rules], shown=shown)


def _build_sounds(
    handlers: ConfigureHandlers,
) -> tuple[gr.Dropdown, gr.Textbox, Notice]:
    cards = handlers.workbench.adms()
    adm = gr.Dropdown(
        [(adm_title(card), card.id) for card in cards],
        value=cards[0].id if cards else None,
        label="Audio diffusion model",
        info="Embedded models ship with this page; local ones were named by its operator.",
        elem_id="adm",
    )
    prompts = gr.Textbox(
        starting_prompts(handlers.workbench.settings.max_prompts),
        label="Prompts",
        info=f"One a line, at most {handlers.workbench.settings.max_prompts}. Each becomes a pair.",
        lines=4,
        max_lines=10,
        elem_id="prompts",
    )
    words = Notice(elem_id="words")
    Chips(suggestions(into="prompts"), elem_id="suggestions")
    prompts.change(handlers.check_prompts, [adm, prompts], words, **LATEST)
    return adm, prompts, words


def _build_sampling(workbench: Workbench, adm: str | None) -> tuple[gr.components.Component, ...]:
    settings = workbench.settings
    longest = settings.max_seconds if adm is None else workbench.longest_s(adm)
    seed = gr.Number(
        0, label="Seed", info="The starting noise. The same seed gives the same pair.", precision=0
    )
    steps = gr.Slider(
        1,
        settings.max_steps,
        min(20, settings.max_steps),
        step=1,
        label="Denoising steps",
        info="More steps: cleaner, slower.",
    )
    guidance = gr.Slider(
        1, 15, 2.5, step=0.1, label="Guidance", info="How strictly the sound follows the prompt."
    )
    seconds = gr.Slider(
        0.64,
        longest,
        min(5.12, longest),
        step=0.64,
        label="Length of a clip, seconds",
    )
    calibration = gr.Slider(
        1,
        MAX_CALIBRATION_PROMPTS,
        DEFAULT_CALIBRATION_PROMPTS,
        step=1,
        label="Calibration prompts",
        info="Sounds that the ranges of static activations are measured on.",
    )
    strategy, states, covering = _build_calibration()
    return seed, steps, guidance, seconds, calibration, strategy, states, covering


def _build_calibration() -> tuple[gr.Dropdown, gr.Slider, gr.Checkbox]:
    with gr.Accordion("How calibration chooses", open=False):
        strategy = gr.Dropdown(
            list(STRATEGY_NAMES),
            value=DEFAULT_STRATEGY,
            label="Strategy",
            info="Which denoising states the ranges rest on. Activation-aware ones reach most of "
            "what the layers can see, and take longer to find.",
            elem_id="strategy",
        )
        states = gr.Slider(
            8,
            MAX_CALIBRATION_STATES,
            DEFAULT_CALIBRATION_STATES,
            step=8,
            label="States",
            info="As many as the calibration prompts have, at most.",
            elem_id="states",
        )
        covering = gr.Checkbox(
            value=DEFAULT_COVERING,
            label="Prompts that cover what the model can be asked",
            info="Chosen by its own text encoder, instead of drawn.",
            elem_id="covering",
        )
    return strategy, states, covering


def _build_rules() -> tuple[gr.Radio, gr.Button, gr.Textbox, Notice]:
    chosen = gr.Radio(
        list(PRESETS),
        value=DEFAULT_PRESET,
        label="Preset",
        info="The rules begin as these. fp changes nothing; w4a8 means 4-bit weights and 8-bit "
        "activations.",
        elem_id="preset",
    )
    back = gr.Button(
        "Back to the preset's rules", size="sm", interactive=False, elem_id="back-to-preset"
    )
    rules = gr.Textbox(
        format_rules(preset(DEFAULT_PRESET).rules),
        label="Rules",
        info="pattern = bits and options. The first line that matches a layer decides.",
        lines=9,
        max_lines=16,
        elem_id="rules",
    )
    problem = Notice(elem_id="rule-problem")
    return chosen, back, rules, problem


def _build_methods(
    handlers: ConfigureHandlers, adm: str | None, rules: str
) -> tuple[gr.Radio, gr.Slider]:
    rounding = gr.Radio(
        [method.value for method in Rounding],
        value=None,
        label="Rounding of the denoiser's weights",
        info="Changes the rules. All but nearest look at what calibration saw.",
        elem_id="rounding",
    )
    budget = gr.Slider(
        **({"visible": False} if adm is None else handlers.sizes(adm, rules)),
        step=0.01,
        label="Budget, megabytes of all layers",
        info="Bits go to the layers that mind most; the rules then say how. Weights are rounded as "
        "above, but by gptq where that is nearest. Layers that a rule of yours keeps or names stay "
        "as they are.",
        elem_id="budget",
    )
    return rounding, budget
