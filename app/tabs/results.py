"""The Results tab: what was lost, heard, seen and counted."""

from dataclasses import dataclass

import gradio as gr

from app.components.ab_player import ABPlayer
from app.components.choice import ChoiceList
from app.components.fact_table import FactTable
from app.components.notice import Notice
from app.handlers.navigate import close_coverage
from app.handlers.results import ResultsHandlers
from app.tabs.wiring import LATEST, QUIET
from ptq.scheme import MAX_TIMESTEP_BUCKETS

_SAVE = "() => setTimeout(() => document.querySelector('#download-file')?.click(), 300)"
_DISTANCE = """
The Fréchet distance compares two crowds of clips, not two clips. It needs hundreds of pairs: a run
of a few prompts has too few, and is marked so. The grey band is as far as chance alone takes it
where clips are not paired; pairs from the same noise tell finer.
"""


@dataclass(frozen=True, kw_only=True)
class ResultsTab:
    """What the page wires to other tabs."""

    run: gr.Dropdown
    table: FactTable
    front: list[gr.components.Component]
    point: gr.Dropdown
    open_point: gr.Button
    shown: list[gr.components.Component]


def build_results(handlers: ResultsHandlers, token: gr.BrowserState) -> ResultsTab:
    """Build the tab."""
    run = ChoiceList([], label="Run", info="Your finished runs.", elem_id="run")
    with gr.Column(visible=False) as details:
        verdict = Notice(elem_id="verdict")
        signs = Notice(elem_id="diagnosis")
        pair = ChoiceList([], label="Pair", elem_id="pair")
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                player = ABPlayer(elem_id="player")
            with gr.Column(scale=2, min_width=300):
                summary = FactTable(elem_id="summary")
        picture = gr.Plot(show_label=False, elem_id="spectrograms")
        paired = FactTable(elem_id="paired")
        with gr.Row():
            with gr.Column(min_width=320):
                steps = gr.Plot(show_label=False, elem_id="steps")
            with gr.Column(min_width=320):
                size = gr.Plot(show_label=False, elem_id="sizes")
        site, bucket, activations = _build_activations()
        _build_coverage(handlers, token, run)
        save = gr.Button("Download everything of this run (zip)", elem_id="download")
        file = gr.DownloadButton("Save", visible="hidden", elem_id="download-file")
    gr.Markdown(_DISTANCE, elem_classes="lead")
    distance = gr.Plot(show_label=False, elem_id="distances")
    table = FactTable(elem_id="runs")
    box, front, point, open_point = _build_front()
    shown = [details, distance, verdict, signs, summary, pair, player, picture, steps, paired, size]
    shown += [site, bucket, activations, file]
    run.input(handlers.show_run, [token, run], shown, **LATEST)
    pair.input(handlers.show_pair, [token, run, pair], [player, picture, steps], **LATEST)
    for control in (site, bucket):
        control.input(
            handlers.show_site,
            [token, run, site, bucket],
            activations,
            **LATEST,
        )
    save.click(handlers.download, [token, run], file, **QUIET).then(
        None, None, None, js=_SAVE, api_visibility="private"
    )
    return ResultsTab(
        run=run,
        table=table,
        shown=shown,
        front=[box, front, point],
        point=point,
        open_point=open_point,
    )


def _build_coverage(handlers: ResultsHandlers, token: gr.BrowserState, run: gr.Dropdown) -> None:
    title = "What calibration covered"
    with gr.Accordion(title, open=False, elem_id="coverage") as box, gr.Row():
        with gr.Column(min_width=320):
            places = gr.Plot(show_label=False, elem_id="prompt-map")
        with gr.Column(min_width=320):
            ranges = gr.Plot(show_label=False, elem_id="range-coverage")
    # Placing prompts takes a text encoder a second: only for who looks, and for the run shown.
    box.expand(handlers.show_coverage, [token, run], [places, ranges], **LATEST)
    run.change(close_coverage, None, box, **LATEST)


def _build_front() -> tuple[gr.Column, gr.Plot, gr.Dropdown, gr.Button]:
    with gr.Column(visible=False) as box:
        gr.Markdown(
            "### Where bits go best\nEvery point is the plan with the least sum of errors for its "
            "size, found from how much each layer minds; dynamic ranges, which cost time, have a "
            "price in it. That errors add up is an assumption: run a plan to see.",
            elem_classes="lead",
        )
        front = gr.Plot(show_label=False, elem_id="front")
        with gr.Row():
            point = ChoiceList([], label="Plan", elem_id="point")
            open_point = gr.Button("Open this plan in Configure", elem_id="open-point")
    return box, front, point, open_point


def _build_activations() -> tuple[gr.Dropdown, gr.Slider, gr.Plot]:
    gr.Markdown(
        "### Activations\nWhat flowed into a layer during calibration, and the levels that "
        "quantization rounds it to. Values beyond the outermost levels are clipped.",
        elem_classes="lead",
    )
    with gr.Row():
        site = ChoiceList([], label="Layer", elem_id="site")
        # Gradio asks these bounds when it has forgotten those of a visitor's session.
        bucket = gr.Slider(
            1,
            MAX_TIMESTEP_BUCKETS,
            1,
            step=1,
            label="Part of the denoising",
            info="1 is the beginning, where all is noise.",
            elem_id="bucket",
        )
    return site, bucket, gr.Plot(show_label=False, elem_id="activations")
