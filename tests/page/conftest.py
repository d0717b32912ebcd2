"""A real browser for the tests of the page."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is first imported

from tests.page.components_site import Site, build, opened, write_tones
from tests.page.page_site import Server, open_page, running_page

_PROBE = Path(__file__).with_name("probe.js")
_GRADIO_WARNINGS = (
    # Gradio leaves the event loop of a finished server to the garbage collector,
    "ignore:unclosed event loop:ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    # and its queue counts its requests with options that pandas has deprecated.
    "ignore:('future.no_silent_downcasting'|The copy keyword) is dep",
)

_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Excuse the tests of this folder from Gradio's own warnings, and from those only."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            for warning in _GRADIO_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


expect.set_options(timeout=20_000)  # in ms; a busy machine is slow, not wrong


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium. Without one the test fails in CI and is skipped elsewhere."""
    path = next(filter(None, map(shutil.which, _CHROMIUM_NAMES)), None)
    if path is None:
        reason = f"no browser: install one of {', '.join(_CHROMIUM_NAMES)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("clips")
    site = Site()
    page = build(site, write_tones(folder))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _, site.url, _ = page.launch(
        server_name="127.0.0.1",
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        allowed_paths=[str(folder)],
    )
    yield site
    page.close(verbose=False)


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for all tests, so that the scripts of Gradio are fetched and compiled once."""
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    context.add_init_script(path=_PROBE)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Iterator[Page]:
    """A fresh tab: players remember too much to share one."""
    with opened(context, site) as tab:
        yield tab


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The whole page with the embedded ADM and a tiny one."""
    with running_page(tmp_path_factory.mktemp("page")) as site:
        yield site


@pytest.fixture
def visitor(browser: Browser, server: Server) -> Iterator[Page]:
    """A visitor who has never been here."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.add_init_script(path=_PROBE)
    yield open_page(context, server)
    context.close()
