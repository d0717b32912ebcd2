"""Bits within a budget on the page: rules that keep the size, and points that open as plans."""

import gc
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from app.budget import Budget, own_rules
from app.figures.front import front
from app.handlers.configure import ConfigureHandlers
from app.handlers.results import ResultsHandlers
from app.rule_edits import with_rounding
from app.rules import draft_plan, made_optional
from app.settings import Settings
from app.ui import build_ui
from app.workbench import Workbench
from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import layers_of
from ptq.config import format_rules, parse_rules
from ptq.errors import CheckpointError, ConfigError
from ptq.layer_spec import DENOISER, LayerInfo
from ptq.presets import preset
from ptq.scheme import Rounding
from ptq.sensitivities import Sensitivities
from ptq.shipped_sensitivities import shipped_sensitivities

WORDS = {"w3 g16": 4.0, "w4 g16": 1.0, "w8 channel": 0.01}


@pytest.fixture(scope="module")
def layers(tiny_adm: AudioLDM) -> tuple[LayerInfo, ...]:
    return layers_of(tiny_adm)


@pytest.fixture(scope="module")
def table(tiny_adm: AudioLDM, layers: tuple[LayerInfo, ...]) -> Sensitivities:
    """Errors that fall with the bits, different for each layer."""
    names = [i.name for i in layers if ".resnets." in i.name and i.row % 16 == 0 and not i.split]
    errors = {
        name: {words: error * (1 + index) for words, error in WORDS.items()}
        for index, name in enumerate(names)
    }
    return Sensitivities(
        model_hash=tiny_adm.source_hash, measure="output", calibration="c", errors=errors
    )


@pytest.fixture(scope="module")
def budget(layers: tuple[LayerInfo, ...], table: Sensitivities) -> Budget:
    return Budget(format_rules(preset("w8a8").rules), layers, table)


@pytest.fixture
def workbench(
    tiny_folder: Path, tmp_path: Path, table: Sensitivities, monkeypatch: pytest.MonkeyPatch
) -> Workbench:
    monkeypatch.setattr("app.budgets.shipped_sensitivities", lambda *_: table)
    return Workbench(Settings(runs=tmp_path, local_adms={"tiny": tiny_folder}))


def test_a_plan_keeps_its_size_and_says_only_what_differs(
    budget: Budget, layers: tuple[LayerInfo, ...]
) -> None:
    least, most = budget.limits_mb
    assert least < most
    for share in (0.0, 0.4, 0.8, 1.0):
        size = least + share * (most - least)
        text = budget.rules(size + 1e-6)
        plan = draft_plan(text, layers).plan
        assert plan is not None
        assert plan.size_bytes(layers) <= (size + 1e-6) * 1e6
    base = {line for line in text.splitlines() if line.startswith("denoiser.*")}
    assert base, "the preset's own rules follow"
    with pytest.raises(ConfigError, match="ask for"):
        budget.rules(least / 2)


def test_every_point_of_the_front_opens_as_its_plan(
    budget: Budget, layers: tuple[LayerInfo, ...]
) -> None:
    points = budget.front()
    assert len(points) > 3
    assert [p.error for p in points] == sorted((p.error for p in points), reverse=True)
    for point in points:
        plan = draft_plan(budget.rules(point.megabytes), layers).plan
        assert plan is not None
        assert plan.size_bytes(layers) == pytest.approx(point.megabytes * 1e6)
    figure = front(points, chosen=1)
    assert list(figure.data[0].x) == [p.megabytes for p in points]
    assert figure.data[0].marker.size[1] > figure.data[0].marker.size[0]


def test_rounding_changes_the_denoisers_weights_only() -> None:
    text = "# mine\ndenoiser.conv_in = keep\ndenoiser.* = w4 a8 mse t10\nvae.* = w8\n"
    found = with_rounding(text, Rounding.GPTQ)
    lines = found.splitlines()
    assert lines[:2] == ["# mine", "denoiser.conv_in = keep"]
    assert "gptq" in lines[2]
    assert lines[3] == "vae.* = w8"
    assert parse_rules(with_rounding(found, Rounding.NEAREST)) == parse_rules(text)
    with pytest.raises(ConfigError):
        with_rounding("denoiser.* = w9", Rounding.GPTQ)
    both = with_rounding("* = w8a8\n", Rounding.ADAROUND)
    assert both.splitlines() == ["denoiser.* = w8 adaround a8 optional", "* = w8a8"]
    assert with_rounding("*.conv* = w8\n", Rounding.GPTQ) == "*.conv* = w8\n"


def test_the_page_plans_within_a_budget(workbench: Workbench, table: Sensitivities) -> None:
    configure, results = ConfigureHandlers(workbench), ResultsHandlers(workbench)
    budget = workbench.budget("tiny")
    assert budget is not None
    assert workbench.budget("tiny") is budget, "solved once"
    slider = configure.check_rules("tiny", "* = w8a8")[-1]
    rules = configure.replan("tiny", "* = w8a8", (slider.minimum + slider.maximum) / 2)
    assert isinstance(rules, str)
    grid = configure.check_rules("tiny", rules)[1]
    rated = {row["name"]: row.get("sensitivity") for row in grid["rows"]}
    assert {name for name, value in rated.items() if value is not None} == set(table.errors)
    box, figure, choices = results.show_front("tiny", None)
    assert box.visible
    assert len(figure.data[0].x) == len(choices.choices)
    own = "denoiser.conv_in = keep\n* = w8a8\n"
    opened, name = results.open_point("tiny", own, 0)
    assert name == "ptq4adm"
    assert opened.startswith("# within ")
    again, _ = results.open_point("tiny", opened, 1)
    kept = "# the rules before:\n# denoiser.conv_in = keep\n# * = w8a8\n"
    assert again.endswith(kept), "nothing is lost, however many are opened"
    assert opened != again
    for known in (format_rules(preset("w4a8").rules), again.removesuffix(kept)):
        assert "# the rules before" not in results.open_point("tiny", known, 0)[0]
    for missing in (None, 99):
        assert results.open_point("tiny", own, missing) == (gr.skip(), gr.skip())


def test_a_model_without_a_table_has_no_budget(tiny_folder: Path, tmp_path: Path) -> None:
    workbench = Workbench(Settings(runs=tmp_path, local_adms={"tiny": tiny_folder}))
    assert workbench.budget("tiny") is None
    assert ConfigureHandlers(workbench).replan("tiny", "kept", 3.0) == gr.skip()
    assert not ResultsHandlers(workbench).show_front("tiny", None)[0].visible


def test_a_damaged_table_costs_the_slider_only(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: str) -> Sensitivities:
        raise CheckpointError("damaged")

    monkeypatch.setattr("app.budgets.shipped_sensitivities", damaged)
    assert workbench.budget("tiny") is None


def test_the_page_has_one_slider_of_sizes(workbench: Workbench) -> None:
    page = build_ui(workbench, None)
    labels = [b.label for b in page.blocks.values() if isinstance(b, gr.Slider)]
    assert sum("Budget" in str(label) for label in labels) == 1
    assert None not in labels
    del page
    gc.collect()  # Gradio's event loop goes now, while this test excuses its warning


def test_a_shipped_table_is_read_or_its_damage_named(tmp_path: Path, table: Sensitivities) -> None:
    def shipped(source_hash: str = table.model_hash) -> Sensitivities | None:
        return shipped_sensitivities("tiny", source_hash, tmp_path)

    assert shipped() is None
    file = tmp_path / "tiny.json"
    file.write_text(table.to_json(), encoding="utf-8")
    assert shipped() == table
    assert shipped("of other weights") is None
    file.write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="restore them from git"):
        shipped()


def test_a_budget_leaves_what_the_own_rules_decide(
    layers: tuple[LayerInfo, ...], table: Sensitivities
) -> None:
    kept, named, *_ = table.errors
    own = f"{kept} = keep\n{named} = w6\n# the rest\nvae.* = w6\n* = w8\n"
    budget = Budget(own, layers, table)
    first = budget.rules(budget.limits_mb[0])
    assert first.endswith(own)
    second = Budget(first, layers, table).rules(sum(budget.limits_mb) / 2)
    assert second.endswith(own), "an earlier budget's rules are replaced"
    assert second != first
    for text in (first, second):
        plan = draft_plan(text, layers).plan
        assert plan is not None
        bits = {spec.name: spec.scheme.weight_bits for spec in plan.layers}
        assert (bits[kept], bits[named]) == (16, 6)
    with pytest.raises(ConfigError, match="take one of them out"):
        Budget("* = keep", layers, table)


@pytest.mark.parametrize("pattern", ["denoiser.*.resnets.*", "denoiser.mid_block.*"])
def test_own_rules_that_every_layer_is_taken_from_are_no_error(
    pattern: str, layers: tuple[LayerInfo, ...], table: Sensitivities
) -> None:
    budget = Budget(f"{pattern} = w6 asym\n* = w8a8\n", layers, table)
    for size in budget.limits_mb:
        text = budget.rules(size + 1e-6)
        assert draft_plan(text, layers).problems == ()
        assert Budget(text, layers, table).rules(size + 1e-6) == text


def test_only_rules_that_decide_nothing_become_optional_and_remarks_stay(
    layers: tuple[LayerInfo, ...],
) -> None:
    text = "denoiser.* = w8\ndenoiser.mid_block.* = w6  # try\nvae.* = w6  # mine\n"
    found = made_optional(text, layers)
    assert found == text.replace("w6  # try", "w6 optional  # try")
    assert draft_plan(found, layers).problems == ()
    wrong = "denoiser.elsewhere = w8\ndenoiser.* = w9\n"
    assert made_optional("denoiser.* = w6 g7\n", layers) == "denoiser.* = w6 g7\n"
    with pytest.raises(ConfigError):
        made_optional(wrong, layers)


def test_a_budget_rounds_by_the_visitors_own_method(
    layers: tuple[LayerInfo, ...], table: Sensitivities
) -> None:
    rows = table.errors.items()
    words = {"w3 channel": "w3 channel gptq", "w8 channel": "w8 channel"}
    errors = {name: {words[w]: row["w8 channel"] / int(w[1]) for w in words} for name, row in rows}
    found = replace(table, errors=errors)
    same = Budget("* = w3 channel adaround\n", layers, found)
    assert "w3" not in same.rules(same.limits_mb[0]).partition("# end")[0], "nothing differs"
    for own, method in (("w6 adaround", Rounding.ADAROUND), ("w6", Rounding.GPTQ)):
        budget = Budget(f"* = {own}\n", layers, found)
        plan = draft_plan(budget.rules(budget.limits_mb[0]), layers).plan
        assert plan is not None
        own_part = [s.scheme.weight for s in plan.layers if s.part == DENOISER]
        found_methods = {w.rounding for w in own_part if w is not None and w.bits == 3}
        assert found_methods == {method}


def test_the_slider_follows_the_rules_and_keeps_them(workbench: Workbench) -> None:
    configure = ConfigureHandlers(workbench)
    own = "denoiser.conv_in = keep\n* = w8a8\n"
    *_, slider = configure.check_rules("tiny", own)
    planned = configure.replan("tiny", own, slider.minimum)
    assert isinstance(planned, str)
    *_, moved = configure.check_rules("tiny", planned)
    assert moved.value == slider.minimum < slider.value
    assert (moved.minimum, moved.maximum) == (slider.minimum, slider.maximum)
    assert planned.endswith(own)
    assert configure.replan("tiny", planned, moved.value) == gr.skip(), "left as it was"
    assert not configure.check_rules("tiny", "* = keep\n")[-1].visible
    with pytest.warns(UserWarning, match="take one of them out"):
        assert configure.replan("tiny", "* = keep\n", 1.0) == gr.skip()


def test_a_budget_is_made_once_for_the_same_rules_and_table(
    workbench: Workbench, table: Sensitivities, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = workbench.budget("tiny", "* = w8a8\n")
    assert first is not None
    assert workbench.budget("tiny", first.rules(first.limits_mb[0] + 0.1)) is first
    assert workbench.budget("tiny", "denoiser.conv_in = keep\n* = w8a8\n") is not first
    dearer = {name: dict.fromkeys(row, 9.0) for name, row in table.errors.items()}
    monkeypatch.setattr(
        "app.budgets.shipped_sensitivities", lambda *_: replace(table, errors=dearer)
    )
    assert workbench.budget("tiny", "* = w8a8\n") is not first


def test_only_what_a_budget_wrote_is_taken_out() -> None:
    block = "# within 3.25 MB\ndenoiser.conv_in = w4\n# end of the budget\n"
    mine = "# within reason\ndenoiser.conv_out = keep\n"
    assert own_rules(f"{mine}{block}* = w8\n{block}") == f"{mine}* = w8\n"
    assert own_rules(block.rstrip()) == ""
    assert own_rules(block.splitlines()[0]) == block.splitlines()[0]


def test_a_table_that_does_not_fit_costs_the_slider_only(
    workbench: Workbench, table: Sensitivities, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(table, errors={"denoiser.elsewhere": WORDS})
    monkeypatch.setattr("app.budgets.shipped_sensitivities", lambda *_: other)
    assert workbench.budget("tiny") is None
    assert not ConfigureHandlers(workbench).check_rules("tiny", "* = w8a8")[-1].visible


def test_beginnings_without_an_end_are_read_once() -> None:
    """A pattern that looked for each one's end would keep the whole page waiting."""
    text = "# within 1.00 MB\n" * 200_000
    assert own_rules(text) == text
    mine = "denoiser.* = w4\n"
    written = "# within 9.50 MB\ndenoiser.conv_in = w8\n# end of the budget\n"
    assert own_rules(written + mine) == mine
    assert own_rules(mine + written + "# end of the budget\n") == mine + "# end of the budget\n"
