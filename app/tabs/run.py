"""The Run tab: an estimate, a progress bar, and the first sounds as soon as they exist."""

from dataclasses import dataclass

import gradio as gr

from app.components.ab_player import ABPlayer
from app.components.choice import ChoiceList
from app.components.job_bar import JobBar
from app.components.notice import Notice
from app.handlers.run import RunHandlers
from app.tabs.wiring import LATEST, QUIET

_POLL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class RunTab:
    """What the page wires to other tabs."""

    estimate: Notice
    start: gr.Button
    open_results: gr.Button
    watched: list[gr.components.Component]


def build_run(handlers: RunHandlers, token: gr.BrowserState) -> RunTab:
    """Build the tab."""
    gr.Markdown(
        "A run plans, makes the full-precision clips, watches the activations, quantizes, makes "
        "the same clips again, and scores the pairs. One run computes at a time; others wait.",
        elem_classes="lead",
    )
    estimate = Notice(elem_id="estimate")
    start = gr.Button("Start the run", variant="primary", elem_id="start")
    bar = JobBar(elem_id="bar")
    live = ChoiceList([], label="Finished so far", visible=False, elem_id="live-prompt")
    player = ABPlayer(elem_id="live-player")
    open_results = gr.Button("Open Results", elem_id="open-results")
    timer = gr.Timer(_POLL_S, active=False)
    bar.stop(handlers.stop, token, None, **QUIET)
    live.input(handlers.choose_live, [token, live], player, **LATEST)
    return RunTab(
        estimate=estimate,
        start=start,
        open_results=open_results,
        watched=[bar, live, player, timer, start],
    )


def wire_run(
    tab: RunTab,
    handlers: RunHandlers,
    token: gr.BrowserState,
    *,
    inputs: list[gr.components.Component],
    lists: list[gr.components.Component],
) -> None:
    """Connect the tab with the inputs of Configure; ``lists`` hear of the run that has ended."""
    _, live, _, timer, _ = tab.watched
    watched = [*tab.watched, *lists]
    tab.start.click(handlers.start, [token, *inputs], [token, tab.estimate, *watched], **QUIET)
    timer.tick(handlers.watch, [token, live], watched, trigger_mode="once", **QUIET)
