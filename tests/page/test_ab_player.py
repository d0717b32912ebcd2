"""The A/B player: what is heard, in a real browser."""

import re
from itertools import pairwise

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from app.components.ab_player import ABPlayer
from ptq.errors import ConfigError
from tests.page.components_site import CLIP_S

pytestmark = pytest.mark.browser


@pytest.fixture
def player(page: Page) -> Locator:
    return page.locator("#first .player")


def data(player: Locator, name: str) -> str:
    return player.get_attribute(f"data-{name}") or ""


def position_s(player: Locator) -> float:
    return float(data(player, "position"))


def heard_hz(page: Page) -> float:
    page.wait_for_timeout(150)  # the analyser looks back 85 ms
    return float(page.evaluate("probe.frequency()"))


def test_switching_changes_the_sound_and_nothing_else(page: Page, player: Locator) -> None:
    player.get_by_role("button", name="Play").click()
    expect(player).to_have_attribute("data-state", "playing")
    assert heard_hz(page) == pytest.approx(500.0, abs=12)
    starts = page.evaluate("probe.starts")
    assert len(starts) == 3
    assert all(start == starts[0] for start in starts), "all versions start at the same sample"

    before = position_s(player)
    player.get_by_role("radio", name="2 W4A8", exact=False).first.click()
    expect(player).to_have_attribute("data-track", "1")
    assert heard_hz(page) == pytest.approx(1000.0, abs=12)
    assert before < position_s(player) < before + 2.0
    assert page.evaluate("probe.starts.length") == 3, "a switch starts nothing anew"

    player.get_by_role("button", name="Pause").click()
    expect(player).to_have_attribute("data-state", "paused")
    at = position_s(player)
    page.wait_for_timeout(100)
    assert position_s(player) == at


def test_a_switch_between_equal_clips_cannot_be_heard(page: Page, player: Locator) -> None:
    page.keyboard.press("Tab")
    player.focus()
    page.keyboard.press("m")  # as they are, the last two clips are the same tone
    page.keyboard.press("2")
    page.keyboard.press("Space")
    page.wait_for_timeout(200)
    steady = page.evaluate("probe.range(() => {})")
    button = "document.querySelectorAll('#first .version')[2].click()"
    during = page.evaluate(f"probe.range(() => {button})")
    assert steady == pytest.approx([0.4, 0.4], rel=0.05)
    assert during == pytest.approx(steady, rel=0.02)
    expect(player).to_have_attribute("data-track", "2")


def test_loudness_match_applies_the_gain_of_the_server(page: Page, player: Locator) -> None:
    player.focus()
    page.keyboard.press("3")
    page.keyboard.press("Space")
    page.wait_for_timeout(200)
    matched = page.evaluate("probe.range(() => {})")[1]
    page.keyboard.press("m")
    expect(player).to_have_attribute("data-match", "off")
    page.wait_for_timeout(100)
    raw = page.evaluate("probe.range(() => {})")[1]
    assert 20 * np.log10(matched / raw) == pytest.approx(-6.0, abs=0.2)


def test_dragging_on_the_waveform_loops_that_region(page: Page, player: Locator) -> None:
    box = player.locator(".wave").bounding_box()
    assert box is not None
    y = box["y"] + 40
    player.get_by_role("button", name="Play").click()
    page.mouse.move(box["x"] + 0.5 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], y, steps=3)
    page.mouse.up()
    start, end = (float(edge) for edge in data(player, "region").split(","))
    assert start == pytest.approx(0.5 * CLIP_S, abs=0.02)
    assert end == pytest.approx(0.6 * CLIP_S, abs=0.02)
    seen = []
    for _ in range(12):
        page.wait_for_timeout(60)
        seen.append(position_s(player))
    assert all(start <= position <= end for position in seen)
    assert any(later < earlier for earlier, later in pairwise(seen)), "it wraps"

    page.mouse.click(box["x"] + 0.25 * box["width"], y)
    page.keyboard.press("Escape")
    expect(player).to_have_attribute("data-region", "")


def test_the_keyboard_does_everything(page: Page, player: Locator) -> None:
    player.focus()
    for key, name, value in [
        ("2", "track", "1"),
        ("ArrowRight", "track", "2"),
        ("ArrowRight", "track", "0"),
        ("ArrowUp", "track", "2"),
        ("x", "track", "0"),
        ("5", "track", "0"),
        ("Shift+ArrowRight", "position", "1.000"),
        ("i", "region", "1.000,4.000"),
        ("Shift+ArrowRight", "position", "2.000"),
        ("o", "region", "1.000,2.000"),
        ("Escape", "region", ""),
        ("Shift+ArrowLeft", "position", "0.000"),
        ("l", "loop", "off"),
        ("L", "loop", "on"),
        ("m", "match", "off"),
        ("Space", "state", "playing"),
        ("Space", "state", "paused"),
    ]:
        page.keyboard.press(key)
        expect(player).to_have_attribute(f"data-{name}", value)
    page.locator("#grid .filter").focus()
    page.keyboard.press("Space")
    assert data(player, "state") == "paused", "keys belong to the player that has the focus"


def test_without_a_loop_it_plays_to_the_end_once(page: Page, player: Locator) -> None:
    player.focus()
    page.keyboard.press("l")
    for _ in range(5):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Space")
    expect(player).to_have_attribute("data-state", "playing")
    expect(player).to_have_attribute("data-state", "paused")
    assert position_s(player) == 0.0


def test_one_player_sounds_at_a_time_on_one_context(page: Page, player: Locator) -> None:
    second = page.locator("#second .player")
    expect(second).to_have_attribute("data-ready", "true")
    player.get_by_role("button", name="Play").click()
    expect(player).to_have_attribute("data-state", "playing")
    second.get_by_role("button", name="Play").click()
    expect(second).to_have_attribute("data-state", "playing")
    expect(player).to_have_attribute("data-state", "paused")
    page.wait_for_timeout(100)
    assert page.evaluate("[probe.contexts, probe.context.state]") == [1, "running"]


def test_a_removed_player_falls_silent(page: Page, player: Locator) -> None:
    player.get_by_role("button", name="Play").click()
    expect(player).to_have_attribute("data-state", "playing")
    page.locator("#remove").click()
    expect(page.locator("#first .player:visible")).to_have_count(0)
    page.wait_for_function("probe.context.state === 'suspended'")


def test_new_tracks_keep_the_place_of_the_same_sound(page: Page, player: Locator) -> None:
    player.focus()
    page.keyboard.press("2")
    page.keyboard.press("Space")
    expect(player).to_have_attribute("data-state", "playing")
    before = position_s(player)
    page.locator("#more").click()
    expect(player.locator(".version")).to_have_count(2)
    expect(player).to_have_attribute("data-state", "playing")
    assert position_s(player) > before
    assert data(player, "track") == "1"
    assert heard_hz(page) == pytest.approx(1000.0, abs=12)


def test_a_clip_that_is_missing_is_named_and_can_be_tried_again(
    page: Page, player: Locator
) -> None:
    page.locator("#broken").click()
    expect(player).to_have_attribute("data-state", "error")
    expect(player.locator(".notice")).to_contain_text("“Full precision” could not be loaded")
    expect(player.get_by_role("button", name="Play")).to_be_disabled()
    with page.expect_request(re.compile("no-such-file")):
        player.get_by_role("button", name="Try again").click()


@pytest.mark.parametrize(
    ("track", "sentence"),
    [
        ({"label": "x", "url": "https://elsewhere/x.flac", "gain_db": 0.0}, "leaves this page"),
        ({"label": "x", "url": "//elsewhere/x.flac", "gain_db": 0.0}, "leaves this page"),
        ({"label": "x", "url": "/x.flac", "gain_db": float("nan")}, "gain of 'x'"),
        ({"label": "x", "url": "/x.flac", "gain_db": 0.0, "colour": "red;"}, "#rrggbb"),
    ],
)
def test_the_player_refuses_what_no_page_should_send(
    track: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        ABPlayer({"tracks": [track]})  # type: ignore[arg-type]
