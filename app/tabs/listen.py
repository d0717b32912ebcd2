"""The Listen tab: something to hear at once, without computing anything."""

import gradio as gr

from app.components.ab_player import ABPlayer
from app.components.choice import ChoiceButtons
from app.components.fact_table import FactTable
from app.components.notice import Notice
from app.gallery import Gallery
from app.handlers.listen import ListenHandlers
from app.tabs.wiring import LATEST

_WHAT_TO_LISTEN_FOR = """
Each button is the same sound from the same starting noise; only the number of bits in the model
differs. Press play, then switch: listen for hiss under quiet parts, blurred attacks, and sounds
that turn into something else.
"""


def build_listen(gallery: Gallery | None) -> None:
    """Build the tab."""
    if gallery is None or not gallery.items:
        _build_empty()
    else:
        _build_gallery(ListenHandlers(gallery))


def _build_empty() -> None:
    Notice(
        {
            "title": "No gallery ships with this copy yet",
            "lines": [
                "Open Configure, write a prompt and choose how many bits each layer may have; "
                "Run then makes the sounds and plays them here in the browser."
            ],
        },
        elem_id="gallery-empty",
    )


def _build_gallery(handlers: ListenHandlers) -> None:
    families = list(handlers.gallery.families)
    prompts = handlers.prompts_of(families[0])
    first_player, first_table = handlers.show(prompts[0][1])
    gr.Markdown(_WHAT_TO_LISTEN_FOR, elem_classes="lead")
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            player = ABPlayer(first_player, elem_id="gallery-player")
        with gr.Column(scale=2, min_width=280):
            family = gr.Radio(
                families, value=families[0], label="Sounds of", elem_id="gallery-family"
            )
            prompt = ChoiceButtons(
                prompts, value=prompts[0][1], label="Prompt", elem_id="gallery-prompts"
            )
    table = FactTable(first_table, elem_id="gallery-table")
    family.input(
        handlers.choose_family,
        family,
        [prompt, player, table],
        **LATEST,
    )
    prompt.input(
        handlers.choose_prompt,
        prompt,
        [player, table],
        **LATEST,
    )
