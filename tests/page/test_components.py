"""The layer grid and the job bar, and what holds for all components, in a real browser."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from app.components.layer_grid import LayerEdit
from ptq.errors import ConfigError
from tests.page.components_site import HOSTILE, Site, opened

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def shared_page(context: BrowserContext, site: Site) -> Iterator[Page]:
    with opened(context, site) as tab:
        yield tab


@pytest.fixture
def grid(shared_page: Page, site: Site) -> Locator:
    """The grid as it was at first: no filter, 8 bits everywhere, no edit sent."""
    shared_page.bring_to_front()
    site.silent = False
    grid = shared_page.locator("#grid .layer-grid")
    grid.get_by_label("Find layers").fill("")
    grid.get_by_label("Kind").select_option("")
    grid.locator(".bulk-weights").select_option("")
    with new_revision(grid):
        shared_page.locator("#fresh").click()
    site.edits.clear()
    return grid


@contextmanager
def new_revision(grid: Locator) -> Iterator[None]:
    """Leaves only when the server has answered."""
    before = grid.get_attribute("data-revision") or ""
    yield
    expect(grid).not_to_have_attribute("data-revision", before)


def wait_for_edits(grid: Locator, site: Site, count: int) -> None:
    for _ in range(200):
        if len(site.edits) >= count:
            return
        grid.page.wait_for_timeout(100)
    pytest.fail(f"{len(site.edits)} of {count} edits reached the server within 20 s")


def test_an_edit_of_one_row_reaches_the_server(grid: Locator, site: Site) -> None:
    expect(grid).to_have_attribute("data-total", "150")
    with new_revision(grid):
        grid.get_by_label("denoiser.block.3.to_q, weight bits").select_option("4")
    name = "denoiser.block.3.to_q"
    assert site.edits == [
        LayerEdit(pattern=None, names=(name,), weight_bits=4, activation_bits=None)
    ]


def test_edits_in_quick_succession_all_arrive(grid: Locator, site: Site) -> None:
    names = [f"denoiser.block.{i}.to_q" for i in range(3)]
    before = int(grid.get_attribute("data-revision") or 0)
    # Within one turn of the browser's loop: no answer can come in between.
    grid.evaluate(
        """(grid, names) => names.forEach((name) => {
            const select = grid.querySelector(`[aria-label="${name}, weight bits"]`);
            select.value = '4';
            select.dispatchEvent(new Event('change', {bubbles: true}));
        })""",
        names,
    )
    expect(grid).to_have_attribute("data-revision", str(before + len(names)))
    assert [edit.names for edit in site.edits] == [(name,) for name in names]


def test_a_filter_that_no_pattern_can_be_finds_nothing(grid: Locator) -> None:
    grid.get_by_label("Find layers").fill("[z-a]")
    expect(grid).to_have_attribute("data-shown", "0")
    grid.get_by_label("Find layers").fill("to_q")
    expect(grid).to_have_attribute("data-shown", "75")


def test_an_edit_the_server_refuses_is_undone(grid: Locator) -> None:
    select = grid.get_by_label("denoiser.block.0.conv, weight bits")
    with new_revision(grid):
        select.select_option("32")
    expect(select).to_have_value("8")


def test_edits_that_get_no_rows_for_an_answer_are_undone_and_followed_by_the_next(
    grid: Locator, site: Site
) -> None:
    """As where the rules have an error: there is no plan to draw."""
    names = [f"denoiser.block.{i}.conv" for i in range(3)]
    selects = [grid.get_by_label(f"{name}, weight bits") for name in names]
    site.silent = True
    for select in selects:
        select.select_option("4")
    expect(selects[0]).to_have_value("8")
    wait_for_edits(grid, site, 2)
    grid.page.wait_for_timeout(1_000)
    assert len(site.edits) == 2, "one after the other"
    # The third waits for the second's answer: it must not reach the server in a later test.
    with new_revision(grid):
        site.silent = False
    assert [edit.names for edit in site.edits] == [(name,) for name in names]


@pytest.mark.parametrize(
    ("text", "kind", "shown", "pattern"),
    [
        ("to_q", "", 75, "*to_q*"),
        ("*.7?.to_[qk]", "", 5, "*.7?.to_[qk]"),
        ("", "", 150, "*"),
        ("block.1.", "Conv2d", 1, None),
    ],
)
def test_filtered_rows_are_set_with_one_edit(
    grid: Locator, site: Site, text: str, kind: str, shown: int, pattern: str | None
) -> None:
    grid.get_by_label("Find layers").fill(text)
    grid.get_by_label("Kind").select_option(kind)
    expect(grid).to_have_attribute("data-shown", str(shown))
    expect(grid.locator(".row:visible")).to_have_count(shown)
    button = grid.locator(".apply")
    expect(button).to_be_disabled()
    grid.locator(".bulk-weights").select_option("4")
    with new_revision(grid):
        button.click()
    [edit] = site.edits
    assert (edit.pattern, edit.weight_bits, edit.activation_bits) == (pattern, 4, None)
    assert edit.names == (() if pattern else ("denoiser.block.1.conv",))
    # This server grants only what is asked for all rows.
    select = grid.get_by_label("denoiser.block.0.conv, weight bits")
    expect(select).to_have_value("4" if pattern == "*" else "8")


def test_the_grid_works_from_the_keyboard(grid: Locator, site: Site) -> None:
    keyboard = grid.page.keyboard
    grid.get_by_label("Find layers").fill("to_q")
    keyboard.press("Enter")
    expect(grid.get_by_label("denoiser.block.0.to_q, weight bits")).to_be_focused()
    keyboard.press("Shift+ArrowDown")
    keyboard.press("Tab")
    expect(grid.get_by_label("denoiser.block.1.to_q, activation bits")).to_be_focused()
    with new_revision(grid):
        keyboard.press("ArrowUp")
    keyboard.press("Escape")
    expect(grid.get_by_label("Find layers")).to_be_focused()
    [edit] = site.edits
    assert (edit.names, edit.activation_bits) == (("denoiser.block.1.to_q",), 32)


def test_rows_can_be_put_in_order(grid: Locator) -> None:
    first = grid.locator(".row .name").first
    smallest, largest = "denoiser.block.0.conv", "denoiser.block.74.to_q"
    for column, order in (("Size", (largest, smallest)), ("Sensitivity", (smallest, largest))):
        for expected in order:
            grid.get_by_role("button", name=column).click()
            expect(first).to_have_text(expected)
        grid.get_by_role("button", name=column).click()  # the order of the network again
        expect(grid.locator("[aria-sort=none]")).to_have_count(4)
    expect(grid.locator(".row .sensitivity").first).to_have_text("1.0")


def test_the_bar_shows_the_job_and_stops_it(page: Page, site: Site) -> None:
    bar = page.locator("#bar .job-bar")
    progress = bar.get_by_role("progressbar")
    expect(progress).to_have_attribute("aria-valuenow", "25")
    expect(bar).to_contain_text("Calibrating")
    expect(bar).to_contain_text("16 / 64")
    expect(bar.locator(".times")).to_have_text(re.compile(r"^1 min \d\d s .* about 2 min \d\d s"))
    bar.get_by_role("button", name="Stop").click()
    expect(bar).to_have_attribute("data-state", "stopping")
    expect(bar.get_by_role("button", name="Stop")).to_be_disabled()
    page.locator("#done").click()
    expect(bar).to_have_attribute("data-state", "done")
    expect(progress).to_have_attribute("aria-valuenow", "100")
    assert site.stops == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(browser: Browser, site: Site, theme: str) -> None:
    phone = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    phone.goto(f"{site.url}?__theme={theme}", wait_until="domcontentloaded")
    expect(phone.locator("#first .player")).to_have_attribute("data-ready", "true")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    overflowing = """() => [...document.querySelectorAll('section, section *')]
        .filter((node) => !node.closest('.spoken') && node.getBoundingClientRect().right > 390)
        .map((node) => node.className)"""
    assert phone.evaluate(overflowing) == []
    for target in phone.locator("#first button:visible").all():
        box = target.bounding_box()
        assert box is not None
        assert box["height"] >= 44
    phone.close()


def test_text_of_a_visitor_stays_text(page: Page) -> None:
    player = page.locator("#first .player")
    page.locator("#hostile").click()
    expect(player.locator(".caption")).to_have_text(HOSTILE)
    expect(player).to_have_attribute("data-ready", "true")
    page.locator("#done").click()
    expect(page.locator("#bar .message")).to_have_text(HOSTILE)
    assert page.evaluate("window.pwned") is None


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"pattern": "*", "names": ["a"], "weight_bits": 4},
        {"pattern": "*", "weight_bits": "4"},
        {"pattern": "*", "weight_bits": True},
        {"pattern": "*", "weight_bits": 64},
        {"pattern": "*"},
        {"pattern": {"$": 1}, "weight_bits": 4},
        {"names": "all", "weight_bits": 4},
        {"names": [3], "weight_bits": 4},
        {"pattern": "x" * 1000, "weight_bits": 4},
    ],
)
def test_an_edit_is_checked_before_it_is_believed(event: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        LayerEdit.from_event(type("Event", (), event)())
