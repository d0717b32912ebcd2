"""The page: four tabs, four endpoints."""

import contextlib
from typing import Any

import gradio as gr

from app.gallery import GALLERY_FOLDER, Gallery, read_gallery
from app.handlers.api import ApiHandlers
from app.handlers.configure import ConfigureHandlers
from app.handlers.navigate import open_configure, open_results, open_run
from app.handlers.results import ResultsHandlers
from app.handlers.run import RunHandlers
from app.settings import Settings
from app.tabs.configure import build_configure
from app.tabs.draft import keep_draft
from app.tabs.listen import build_listen
from app.tabs.results import build_results
from app.tabs.run import build_run, wire_run
from app.tabs.wiring import LATEST, QUIET
from app.theme import STYLE_SHEET, build_theme
from app.workbench import Workbench
from ptq.errors import PTQError
from ptq.memory import keep_freed_memory

TITLE = "PTQ4ADM Explorer"
_LEAD = f"""
# {TITLE}
Squeeze an audio diffusion model into fewer bits, layer by layer, and hear what it costs.
"""
# Every hour, downloads older than a day go: Gradio keeps copies of its own.
_CACHE_S = (3600, 24 * 3600)
_TOKEN_KEY = "ptq4adm-visitor"
_TOKEN_CIPHER = "ptq4adm"


def build_ui(workbench: Workbench, gallery: Gallery | None) -> gr.Blocks:
    """Build the whole page; without a gallery it says how to make sounds."""
    configuring, running = ConfigureHandlers(workbench), RunHandlers(workbench)
    showing = ResultsHandlers(workbench)
    options = {"title": TITLE, "analytics_enabled": False, "fill_width": True}
    with gr.Blocks(**options, delete_cache=_CACHE_S) as page:
        token = gr.BrowserState(None, storage_key=_TOKEN_KEY, secret=_TOKEN_CIPHER)
        gr.Markdown(_LEAD, elem_classes="lead")
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab("Listen", id="listen"):
                build_listen(gallery)
            with gr.Tab("Configure", id="configure") as configure_tab:
                configure = build_configure(configuring)
            with gr.Tab("Run", id="run") as run_tab:
                run = build_run(running, token)
            with gr.Tab("Results", id="results") as results_tab:
                results = build_results(showing, token)
        finished = gr.State(None)  # the run that ended last, which Results then shows
        lists = [finished, results.table]
        wire_run(run, running, token, inputs=configure.inputs, lists=lists)
        configure_tab.select(configuring.check_rules, configure.opened, configure.shown, **QUIET)
        run_tab.select(running.estimate, configure.inputs, run.estimate, **QUIET)
        opened = [results.run, results.table, *results.shown]
        results_tab.select(showing.return_to_tab, [token, results.run], opened, **LATEST)
        finished.change(showing.open_tab, [token, finished], opened, **LATEST)
        adm, rules = configure.opened
        front = [adm, results.point]
        results_tab.select(showing.show_front, front, results.front, **LATEST)
        results.point.input(showing.show_front, front, results.front, **LATEST)
        results.open_point.click(
            showing.open_point, [adm, rules, results.point], [rules, configure.preset], **QUIET
        ).then(open_configure, None, tabs, **QUIET)
        configure.go.click(open_run, None, tabs, **QUIET)
        run.open_results.click(open_results, None, tabs, **QUIET)
        keep_draft(page, configure.inputs, workbench.settings)
        page.load(running.attach, token, [token, *run.watched, *lists], **QUIET)
        _add_endpoints(ApiHandlers(workbench))
    return page


def _add_endpoints(handlers: ApiHandlers) -> None:
    for endpoint in (
        handlers.list_adms,
        handlers.list_layers,
        handlers.generate_pair,
        handlers.study,
    ):
        # The job registry refuses what is too much. Gradio's own limit would let callers wait in
        # its queue, which the page's listeners share.
        gr.api(endpoint, concurrency_limit=None)


def launch_options(settings: Settings) -> dict[str, Any]:
    """How the page is served; ``gr.Blocks.launch`` takes what is added, such as a port."""
    settings.runs.mkdir(parents=True, exist_ok=True)
    folders = [settings.runs, GALLERY_FOLDER, settings.featured_run]
    return {
        "theme": build_theme(),
        "css_paths": [STYLE_SHEET],
        "allowed_paths": [str(folder.resolve()) for folder in folders if folder is not None],
        "max_file_size": "1mb",  # the page takes no files, but Gradio's upload is always there
        "show_error": False,  # the text of an unexpected error may hold paths
        "run_history": False,
        "ssr_mode": False,
        "footer_links": ["api", "settings"],
        "state_session_capacity": 200,
    }


def serve() -> None:
    """Serve the page until the process is told to end.

    Raises:
        SystemExit: A setting is wrong, which is said on stderr.
    """
    keep_freed_memory()
    try:
        settings = Settings.from_environment()
    except PTQError as error:
        raise SystemExit(f"error: {error}") from error
    with contextlib.closing(Workbench(settings)) as workbench:
        page = build_ui(workbench, read_gallery()).queue(max_size=64, default_concurrency_limit=4)
        page.launch(**launch_options(workbench.settings))
