"""``python app.py`` as a process of its own, for the tests that need the whole page."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from ptq.adms.registry import ADMS_FOLDER
from tests.tiny_adm import write_tiny_audioldm

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = "mini-audioldm"
START_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running page, and the model it works with."""

    url: str
    adm: str


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _wait_until_served(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(int(START_S / 0.25)):
        try:
            urlopen(url, timeout=1).close()
        except (URLError, OSError):
            assert process.poll() is None, log.read_text()
            time.sleep(0.25)
        else:
            return
    pytest.fail(f"the page did not start:\n{log.read_text()}")


@contextmanager
def running_page(folder: Path) -> Iterator[Server]:
    """``python app.py`` with the embedded ADM, or with a tiny one where none ships yet."""
    write_tiny_audioldm(folder / "tiny")
    port = _free_port()
    environment = {
        **os.environ,
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PTQ4ADM_RUNS": str(folder / "runs"),
        "PTQ4ADM_LOCAL_ADMS": f"tiny={folder / 'tiny'}",
        "PTQ4ADM_MAX_STEPS": "500",
        "PTQ4ADM_MAX_QUEUED": "1",
    }
    log = folder / "log.txt"
    url = f"http://127.0.0.1:{port}/"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=stream, stderr=stream
        )
        try:
            _wait_until_served(url, process, log)
            embedded = (ADMS_FOLDER / EMBEDDED / "model_index.json").is_file()
            yield Server(url=url, adm=EMBEDDED if embedded else "tiny")
        finally:
            process.terminate()
            process.wait(30)


def open_page(context: BrowserContext, server: Server, theme: str = "light") -> Page:
    """A tab of a visitor who has never been here, but for what the context remembers."""
    page = context.new_page()
    page.goto(f"{server.url}?__theme={theme}", wait_until="domcontentloaded")
    expect(page.get_by_role("tab", name="Listen", exact=True)).to_be_visible()
    return page


def open_tab(page: Page, name: str) -> None:
    """Turn to a tab of the page."""
    page.get_by_role("tab", name=name, exact=True).click()
