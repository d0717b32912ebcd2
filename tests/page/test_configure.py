"""The Configure tab in a real browser: presets, rules, the layer table, budgets and prompts."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.page.page_site import EMBEDDED, Server, open_tab

pytestmark = pytest.mark.browser


def test_a_budget_is_planned_and_a_point_of_the_front_opens_as_a_plan(visitor: Page) -> None:
    open_tab(visitor, "Configure")
    rules, rounding = visitor.locator("#rules textarea"), visitor.locator("#rounding")
    visitor.get_by_label("fp", exact=True).check()
    nothing = re.compile("Layers quantized\\s*0 of")
    summary = visitor.locator("#plan-summary .fact-table")
    expect(summary).to_contain_text(nothing)
    visitor.get_by_label("ptq4adm", exact=True).check()
    expect(summary).not_to_contain_text(nothing)  # it comes after the rules it speaks of
    before, size = rules.input_value(), summary.inner_text()
    box = visitor.get_by_label("number input for Budget, megabytes of all layers")
    box.fill(box.get_attribute("min") or "")
    box.press("Tab")
    expect(rules).to_have_value(re.compile(f"^# within .*{re.escape(before)}$", re.DOTALL))
    expect(summary).not_to_have_text(size)
    rounding.get_by_label("nearest", exact=True).check()
    expect(rules).not_to_have_value(re.compile("gptq"))
    planned = rules.input_value()
    open_tab(visitor, "Results")
    expect(visitor.locator("#front .main-svg").first).to_be_visible()
    visitor.locator("#open-point").click()
    expect(rules).to_be_visible()
    expect(rules).not_to_have_value(planned)
    expect(rules).to_have_value(re.compile("^# within"))


def test_a_bad_rule_names_its_line_and_an_edit_becomes_a_rule(visitor: Page) -> None:
    open_tab(visitor, "Configure")
    rules, problem = visitor.locator("#rules textarea"), visitor.locator("#rule-problem .notice")
    visitor.locator("#preset").get_by_label("w8a8", exact=True).check()
    expect(rules).to_have_value(re.compile(r"^denoiser\.\* = w8a8"))
    good, rounding = rules.input_value(), visitor.locator("#rounding")
    back = visitor.locator("#back-to-preset")
    expect(rounding.get_by_label("nearest", exact=True)).to_be_checked()
    rounding.get_by_label("gptq", exact=True).check()
    expect(rules).to_have_value(re.compile("gptq"))
    back.click()
    expect(rules).to_have_value(re.compile("^" + re.escape(good) + "# the rules before:\n# .*gptq"))
    expect(rounding.get_by_label("nearest", exact=True)).to_be_checked()
    expect(back).to_be_disabled()
    rules.fill(f"{good}denoiser.* = w99\n")
    expect(problem).to_have_attribute("data-tone", "error")
    expect(problem).to_contain_text(f"Line {len(good.splitlines()) + 1}")
    rules.fill(good)
    expect(problem).to_be_hidden()
    weights = visitor.locator("#grid .row .weights select")
    expect(weights.first).to_have_value("8")
    weights.first.select_option("4")
    expect(rules).to_have_value(re.compile(r"^[\w.]+ = w4 .*optional\n"))
    expect(weights.first).to_have_value("4")


def test_the_suggestions_and_the_words_that_nobody_knows(visitor: Page, server: Server) -> None:
    open_tab(visitor, "Configure")
    prompts, words = visitor.locator("#prompts textarea"), visitor.locator("#words .notice")
    before, texts = prompts.input_value(), visitor.locator("#suggestions .text")
    picked = [texts.nth(i).text_content() or "" for i in range(2)]
    with visitor.expect_request(lambda request: picked[1] in (request.post_data or "")):
        # Two clicks before anything can answer the first.
        texts.evaluate_all("buttons => buttons.slice(0, 2).forEach(button => button.click())")
    expect(prompts).to_have_value("\n".join([before, *picked]))
    prompts.fill("a dog barcks ${alert(1)} <b>")
    if server.adm == EMBEDDED:
        expect(words).to_contain_text("barcks")
        expect(words).to_contain_text("a dog barking")
    else:
        expect(words).to_be_hidden()  # nobody knows which words a local model has heard
