"""A small page that holds the page's own components, for tests that drive them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import soundfile
from playwright.sync_api import BrowserContext, Page, expect

from app.components.ab_player import ABPlayer, PlayerValue, clip_url
from app.components.job_bar import JobBar, JobBarValue
from app.components.layer_grid import GridValue, LayerEdit, LayerGrid, LayerRow

RATE_HZ = 16_000
CLIP_S = 4.0
TONES_HZ = (500.0, 1000.0, 1000.0)
HOSTILE = "<img src=x onerror=window.pwned=1> ${window.pwned=1} {{value}} `"


@dataclass
class Site:
    """A running page, the edits that reached its server, and whether this leaves them be."""

    url: str = ""
    edits: list[LayerEdit] = field(default_factory=list)
    stops: int = 0
    silent: bool = False

    def count_stop(self) -> None:
        self.stops += 1


def write_tones(folder: Path) -> list[str]:
    time_s = np.arange(int(CLIP_S * RATE_HZ)) / RATE_HZ
    urls = []
    for index, tone_hz in enumerate(TONES_HZ):
        path = folder / f"tone {index}#.flac"
        soundfile.write(path, 0.4 * np.sin(2 * np.pi * tone_hz * time_s), RATE_HZ, "PCM_24")
        urls.append(clip_url(path))
    return urls


def player_value(urls: list[str], caption: str) -> PlayerValue:
    gains_db = (0.0, 0.0, -6.0)
    labels = ("Full precision", "W4A8", "W4A8, louder")
    tracks = zip(labels, urls, gains_db, strict=False)
    return {
        "caption": caption,
        "tracks": [{"label": label, "url": url, "gain_db": gain} for label, url, gain in tracks],
    }


def grid_value(bits: int = 8) -> GridValue:
    names = [f"denoiser.block.{index}.{part}" for index in range(75) for part in ("conv", "to_q")]
    rows: list[LayerRow] = [
        {
            "name": name,
            "kind": "Linear" if name.endswith("to_q") else "Conv2d",
            "weight_bits": bits,
            "activation_bits": 8,
            "bytes": 1000 + index,
            "sensitivity": 1.0 / (1 + index),
        }
        for index, name in enumerate(names)
    ]
    return {"rows": rows, "options": {"weight_bits": [32, 8, 4], "activation_bits": [32, 8]}}


def build(site: Site, urls: list[str]) -> gr.Blocks:
    """A page with two players, a grid, a bar, and a button for each thing a server may do."""

    def edited(event: gr.EventData) -> GridValue | dict[str, Any]:
        edit = LayerEdit.from_event(event)
        site.edits.append(edit)
        if site.silent:
            silence: dict[str, Any] = gr.skip()
            return silence
        return grid_value(4 if edit.pattern == "*" else 8)

    with gr.Blocks() as page:
        first = ABPlayer(player_value(urls, "A tone"), elem_id="first")
        ABPlayer(player_value(urls[:2], "Another"), elem_id="second")
        grid = LayerGrid(grid_value(), elem_id="grid")
        grid.edited(edited, None, grid, show_progress="hidden", trigger_mode="multiple")
        running: JobBarValue = {
            "state": "running",
            "stage": "Calibrating",
            "done": 16,
            "total": 64,
            "elapsed_s": 65.0,
            "eta_s": 130.0,
        }
        bar = JobBar(running, elem_id="bar")
        bar.stop(site.count_stop, None, None)
        done = {"state": "done", "done": 64, "total": 64, "message": HOSTILE}
        answers = {
            "hostile": (first, player_value([*urls, urls[0]][2:], HOSTILE)),
            "more": (first, player_value(urls[:2], "Two")),
            "broken": (first, player_value(["/gradio_api/file=no-such-file.flac"], "Broken")),
            "remove": (first, None),
            "done": (bar, done),
            "fresh": (grid, grid_value()),
        }
        for name, (target, value) in answers.items():
            answer = gr.update(visible=False) if value is None else value
            gr.Button(name, elem_id=name).click(
                lambda answer=answer: answer, None, target, show_progress="hidden"
            )
    return page


@contextmanager
def opened(context: BrowserContext, site: Site) -> Iterator[Page]:
    tab = context.new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto(site.url, wait_until="domcontentloaded")
    expect(tab.locator("#first .player")).to_have_attribute("data-ready", "true")
    yield tab
    tab.close()
    assert problems == []
