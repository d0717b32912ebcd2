"""The whole page in a real browser, against ``python app.py`` with a real ADM."""

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.page.page_site import ROOT, Server, open_page, open_tab

pytestmark = pytest.mark.browser

SCREENSHOTS = ROOT / "screenshots"
RUN_MS = 90_000
READABLE = 4.5  # WCAG's ratio for text
# The least contrast of a figure's text with what the page shows behind its transparent ground.
CONTRAST = """
figure => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = numbers(colour).slice(0, 3).map(value => value / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let behind = figure;
  while (behind && (numbers(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0)
    behind = behind.parentElement;
  const ground = light(behind ? getComputedStyle(behind).backgroundColor : "rgb(255, 255, 255)");
  const texts = [...figure.querySelectorAll(".xtick text, .ytick text, .xtitle, .gtitle")];
  return Math.min(...texts.map(text => light(getComputedStyle(text).fill))
    .map(ink => (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)));
}
"""
FIGURES = ("spectrograms", "steps", "sizes", "activations", "distances")


def configure(page: Page, *, steps: int, seed: int, prompts: str = "a dog barks") -> None:
    """Ask for short clips, so that a run takes seconds."""
    open_tab(page, "Configure")
    expect(page.locator("#grid .layer-grid")).not_to_have_attribute("data-total", "0")
    page.locator("#prompts textarea").fill(prompts)
    page.get_by_label("Seed", exact=True).fill(str(seed))
    for label, value in (
        ("Denoising steps", steps),
        ("Length of a clip, seconds", 0.64),
        ("Calibration prompts", 2),
    ):
        box = page.get_by_label(f"number input for {label}")
        box.fill(str(value))
        box.press("Enter")
    page.get_by_label("Seed", exact=True).press("Tab")


def start(page: Page) -> Locator:
    """Go on to Run and start; the bar."""
    page.locator("#go").click()
    expect(page.locator("#estimate .notice")).to_have_attribute("data-tone", "info")
    page.locator("#start").click()
    return page.locator("#bar .job-bar")


def look_at_another_pair_and_come_back(visitor: Page) -> None:
    caption = visitor.locator("#player .caption")
    visitor.locator("#pair input").click()
    visitor.get_by_role("option", name="rain falls").click()
    expect(caption).to_contain_text("rain falls")
    open_tab(visitor, "Configure")
    with visitor.expect_response(lambda response: "queue/data" in response.url):
        open_tab(visitor, "Results")
    expect(visitor.locator("#runs .fact-table")).to_have_attribute("data-rows", "1")
    expect(caption).to_contain_text("rain falls")


def test_generate_play_switch_and_look(visitor: Page, server: Server) -> None:
    configure(visitor, steps=3, seed=1, prompts="a dog barks\nrain falls")
    bar = start(visitor)
    live = visitor.locator("#live-player .player")
    expect(live).to_have_attribute("data-ready", "true", timeout=RUN_MS)
    # The full-precision clip comes first, while the calibration has yet to begin.
    expect(live.get_by_role("radio")).to_have_count(1)
    expect(bar).to_have_attribute("data-state", "done", timeout=RUN_MS)
    visitor.locator("#open-results").click()
    player = visitor.locator("#player .player")
    expect(player).to_have_attribute("data-ready", "true")
    player.locator(".play").click()
    expect(player).to_have_attribute("data-state", "playing")
    player.press("2")
    expect(player).to_have_attribute("data-track", "1")
    expect(player.get_by_role("radio")).to_have_count(2)
    starts = visitor.evaluate("window.probe.starts.map(([when]) => when)")
    assert len(set(starts)) == 1, "both versions begin at the same sample"
    for figure in FIGURES:
        expect(visitor.locator(f"#{figure} .main-svg").first).to_be_visible()
        assert visitor.locator(f"#{figure}").evaluate(CONTRAST) >= READABLE, figure
    look_at_another_pair_and_come_back(visitor)
    visitor.locator("#coverage").get_by_text("What calibration covered").click()
    for figure in ("prompt-map", "range-coverage"):
        expect(visitor.locator(f"#{figure} .main-svg").first).to_be_visible()
    expect(visitor.locator("#paired .fact-table")).to_have_attribute("data-rows", "3")
    expect(visitor.locator("#runs .fact-table")).to_have_attribute("data-rows", "1")
    SCREENSHOTS.mkdir(exist_ok=True)
    visitor.set_viewport_size({"width": 390, "height": 844})
    visitor.screenshot(path=SCREENSHOTS / "run-results-390.png", full_page=True)
    assert visitor.evaluate("document.documentElement.scrollWidth") <= 390
    with visitor.expect_download() as download:
        visitor.locator("#download").click()
    assert download.value.suggested_filename.endswith(".zip")
    visitor.set_viewport_size({"width": 1200, "height": 900})
    visitor.goto(f"{server.url}?__theme=dark", wait_until="domcontentloaded")
    open_tab(visitor, "Results")
    for figure in FIGURES:
        expect(visitor.locator(f"#{figure} .main-svg").first).to_be_visible()
        assert visitor.locator(f"#{figure}").evaluate(CONTRAST) >= READABLE, figure
    visitor.screenshot(path=SCREENSHOTS / "run-results-dark-1200.png", full_page=True)


def test_the_gallery_plays_at_once_and_follows_the_choice(visitor: Page) -> None:
    player = visitor.locator("#gallery-player .player")
    expect(player).to_have_attribute("data-ready", "true")
    expect(player.get_by_role("radio")).to_have_count(4)
    player.locator(".play").click()
    expect(player).to_have_attribute("data-state", "playing")
    visitor.wait_for_function("window.probe.peak() > 0.001")
    player.press("4")
    expect(player).to_have_attribute("data-track", "3")
    prompts = visitor.locator("#gallery-prompts label")
    before = prompts.first.inner_text()
    visitor.locator("#gallery-family").get_by_text("nature", exact=True).click()
    expect(prompts.first).not_to_have_text(before)
    expect(player).to_contain_text(prompts.first.inner_text())
    prompts.nth(1).click()
    expect(player).to_contain_text(prompts.nth(1).inner_text())
    open_tab(visitor, "Run")
    expect(visitor.locator("#bar .job-bar")).to_have_attribute("data-state", "idle")


def test_reload_finds_the_run_again_and_stop_ends_it(visitor: Page) -> None:
    configure(visitor, steps=500, seed=2)
    bar = start(visitor)
    expect(bar).to_have_attribute("data-state", "running")
    visitor.reload(wait_until="domcontentloaded")
    open_tab(visitor, "Configure")
    expect(visitor.locator("#prompts textarea")).to_have_value("a dog barks")
    expect(visitor.get_by_label("number input for Denoising steps")).to_have_value("500")
    open_tab(visitor, "Run")
    bar = visitor.locator("#bar .job-bar")
    expect(bar).to_have_attribute("data-state", "running")
    expect(visitor.locator("#start")).to_be_disabled()
    bar.get_by_role("button", name="Stop").click()
    expect(bar).to_have_attribute("data-state", "cancelled")
    expect(visitor.locator("#start")).to_be_enabled()


def test_two_visitors_take_turns_and_see_their_own_runs_only(
    browser: Browser, server: Server
) -> None:
    contexts = [browser.new_context(), browser.new_context()]
    first, second = (open_page(context, server) for context in contexts)
    bars = []
    for seed, page in enumerate((first, second), start=10):
        configure(page, steps=500, seed=seed)
        bars.append(start(page))
        expect(bars[-1]).to_have_attribute("data-state", ("running", "queued")[seed - 10])
    expect(bars[1].locator(".message")).to_contain_text("1 job is before yours")
    bars[0].get_by_role("button", name="Stop").click()
    expect(bars[1]).to_have_attribute("data-state", "running")
    bars[1].get_by_role("button", name="Stop").click()
    for page, bar in zip((first, second), bars, strict=True):
        expect(bar).to_have_attribute("data-state", "cancelled")
        open_tab(page, "Results")
        expect(page.locator("#runs .fact-table")).to_have_attribute("data-rows", "1")
    for context in contexts:
        context.close()


def test_a_full_queue_says_so_and_loses_nothing(browser: Browser, server: Server) -> None:
    contexts = [browser.new_context() for _ in range(3)]
    pages = [open_page(context, server) for context in contexts]
    for seed, page in enumerate(pages, start=20):
        configure(page, steps=500, seed=seed)
        bar = start(page)
        if seed < 22:
            expect(bar).to_have_attribute("data-state", ("running", "queued")[seed - 20])
    toast = pages[2].locator(".toast-body")
    expect(toast).to_contain_text("2 jobs are ahead of you (1 running, 1 waiting)")
    expect(toast).to_contain_text("try again in")
    expect(pages[2].locator("#start")).to_be_enabled()
    for page in pages[:2]:
        page.locator("#bar .job-bar").get_by_role("button", name="Stop").click()
        expect(page.locator("#bar .job-bar")).to_have_attribute("data-state", "cancelled")
    pages[2].locator("#start").click()
    expect(pages[2].locator("#bar .job-bar")).to_have_attribute("data-state", "running")
    pages[2].locator("#bar .job-bar").get_by_role("button", name="Stop").click()
    expect(pages[2].locator("#bar .job-bar")).to_have_attribute("data-state", "cancelled")
    for context in contexts:
        context.close()


def test_results_follow_the_run_that_ends_while_they_are_open(visitor: Page) -> None:
    # A table of several pairs has a row for their median.
    for seed, prompts, rows in ((30, "a dog barks", 1), (31, "rain falls\na bell rings", 3)):
        configure(visitor, steps=2, seed=seed, prompts=prompts)
        bar = start(visitor)
        expect(bar).to_have_attribute("data-state", re.compile("running|queued"))
        open_tab(visitor, "Results")
        caption = visitor.locator("#player .caption")
        expect(caption).to_contain_text(f"seed {seed}", timeout=RUN_MS)
        expect(visitor.locator("#paired .fact-table")).to_have_attribute("data-rows", str(rows))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_every_tab_fits_in_both_themes(
    browser: Browser, server: Server, theme: str, width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844})
    page = open_page(context, server, theme)
    SCREENSHOTS.mkdir(exist_ok=True)
    for name in ("Listen", "Configure", "Run", "Results"):
        open_tab(page, name)
        expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute(
            "aria-selected", "true"
        )
        if name == "Configure":
            expect(page.locator("#grid .layer-grid")).not_to_have_attribute("data-total", "0")
        if name == "Run":
            expect(page.locator("#estimate .notice")).to_be_visible()
        page.screenshot(path=SCREENSHOTS / f"{name.lower()}-{theme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    context.close()
