"""The commands that measure layers, allocate bits, and search for the smallest plan."""

from pathlib import Path

import pytest

from ptq.adms.registry import lexicon_of
from ptq.cli import main
from ptq.cli_smallest import _passes
from ptq.config import parse_rules
from ptq.metrics import Verdict
from ptq.metrics.embed.logmel import LogMel128
from ptq.prompts.suites import Suite, draw_suite
from ptq.report import read_report
from ptq.results import FdRecord
from ptq.stages import FULL
from tests.band_ear import BandEar
from tests.cli_tools import SMALL, shown

COUNT = 16

pytestmark = pytest.mark.usefixtures("tiny_alone")


def test_layers_are_measured_and_bits_allocated(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    base, found = tmp_path / "base.rules", tmp_path / "found.json"
    base.write_text("denoiser.conv_in = keep\ndenoiser.*to_* = w8\n* = keep\n")
    schemes = ("--scheme", "w3 gptq a8", "--scheme", "w8 a8")
    common = ("tiny", "--plan", str(base))
    measuring = (*common, *SMALL, "--out", str(tmp_path), "--to", str(found), *schemes)
    assert shown(capsys, "sensitivity", *measuring)["measure"] == "first-order"
    # Its statistics are of another plan, and must not be taken for the study's.
    both = tmp_path / "both.rules"
    both.write_text("denoiser.*to_* = w8a8 t2\nvae.decoder.conv_in = w8a8\n* = keep\n")
    also = ("tiny", "--plan", str(both), *SMALL, "--out", str(tmp_path))
    to = ("--to", str(tmp_path / "also.json"))
    assert main(["sensitivity", *also, *to, *schemes]) == main(["study", *also]) == 0
    assert len(list(tmp_path.glob("*/sensitivity/calibration"))) == 2
    capsys.readouterr()
    rules = tmp_path / "mine.rules"
    options = (*common, "--sensitivities", str(found), "--out", str(rules))
    front = shown(capsys, "allocate", *options)["front"]
    assert len(front) > 2
    assert front[0]["error"] > front[-1]["error"]
    middle = (front[0]["size_bytes"] + front[-1]["size_bytes"]) / 2e6
    (one,) = shown(capsys, "allocate", *options, "--megabytes", str(middle))["front"]
    assert one["size_bytes"] <= middle * 1e6
    layers = shown(capsys, "layers", "tiny", "--plan", str(rules))
    assert layers["size_bytes"] == one["size_bytes"]
    bits = shown(capsys, "allocate", *options, "--bits", "15.5")["front"]
    assert bits[0]["denoiser_weight_bits"] <= 15.5
    other = tmp_path / "other.json"
    other.write_text(found.read_text().replace('"model_hash": "', '"model_hash": "0'))
    buckets = ("--scheme", "w4 a8 t89", "--scheme", "w4 a8 t97")
    for arguments, message in (
        (("allocate", *common, "--sensitivities", str(other)), "measure this model"),
        (("allocate", *options, "--megabytes", "nan"), "no size"),
        (("allocate", *options, "--bits", "inf"), "no budget"),
        (("sensitivity", *measuring, "--to", str(tmp_path / "no" / "x")), "There is no folder"),
        (("sensitivity", *measuring, "--to", str(tmp_path)), "is a folder; name a file in it"),
        (("sensitivity", *measuring, "--scheme", "w4 gptq r2 a8"), "use --measure prediction"),
        (("sensitivity", *measuring, *buckets), "in common"),
        (("sensitivity", "tiny", "--preset", "fp", *measuring[3:]), "nothing to measure"),
    ):
        assert main(list(arguments)) == 2
        assert message in capsys.readouterr().err
    assert main(["allocate", *options, "--megabytes", "0.0001"]) == 2
    assert "MB or more" in capsys.readouterr().err
    assert main(["allocate", *common, "--sensitivities", "gone.json"]) == 2
    assert "measure them with 'python -m ptq sensitivity'" in capsys.readouterr().err
    assert main(["allocate", *common]) == 2
    assert "No sensitivities ship for tiny; measure them" in capsys.readouterr().err


def test_the_embedded_model_is_allocated_by_what_ships(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = shown(capsys, "allocate", "mini-audioldm", "--bits", "5")["front"]
    assert 4.5 < row["denoiser_weight_bits"] <= 5.0


def test_a_table_is_scaled_by_groups_and_checked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    base, found = tmp_path / "base.rules", tmp_path / "found.json"
    base.write_text("denoiser.mid_block.*to_* = w8\n* = keep\n")
    schemes = ("--scheme", "w2 gptq", "--scheme", "w4", "--scheme", "w8")
    measuring = ("tiny", "--plan", str(base), *SMALL, "--out", str(tmp_path), "--to", str(found))
    extra = ("--measure", "prediction", "--ablate", "--check")
    value = shown(capsys, "sensitivity", *measuring, *schemes, *extra)
    assert value["measure"] == "prediction, scaled by groups"
    assert len(value["predicted"]) == len(value["measured"]) > 2
    assert value["rank_correlation"] > 0.5
    assert main(["sensitivity", *measuring, *schemes, *extra]) == 0
    assert "errors of the whole correlate with r = " in capsys.readouterr().out
    search = ("smallest", "tiny", "--plan", str(base), *SMALL, "--out", str(tmp_path))
    assert main([*search, "--sensitivities", str(found)]) == 2
    assert "without an ear: this test has no ear" in capsys.readouterr().err
    smooth = ("--scheme", "w4 smooth")
    assert main(["sensitivity", *measuring, *schemes, *smooth]) == 2
    assert "even channels out alike" in capsys.readouterr().err
    base.write_text("denoiser.mid_block.*to_* = w8 smooth a8\n* = keep\n")
    assert main(["sensitivity", *measuring, *smooth, "--scheme", "a8"]) == 2
    assert "even channels out alike" in capsys.readouterr().err


def test_the_smallest_plan_is_judged_on_prompts_that_it_was_not_chosen_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, table, runs = tmp_path / "base.rules", tmp_path / "found.json", tmp_path / "runs"
    base.write_text("denoiser.mid_block.*to_* = w8\n* = keep\n")
    common = ("tiny", "--plan", str(base), *SMALL, "--out", str(runs))
    measuring = (*common, "--to", str(table), "--scheme", "w4", "--scheme", "w8")
    assert main(["sensitivity", *measuring]) == 0
    capsys.readouterr()
    # The tiny model is silent, and no verdict can be had on it: these stand for verdicts.
    verdicts = iter((True, False, True))
    monkeypatch.setattr("ptq.cli_smallest._passes", lambda _: next(verdicts))
    monkeypatch.setattr("ptq.metrics.embed.ear.find_ear", BandEar)
    sampling = ("--steps", "2", "--seconds", "0.64", "-n", str(COUNT), "--out", str(runs))
    search = ("smallest", "tiny", "--plan", str(base), *sampling, "--sensitivities", str(table))
    monkeypatch.chdir(tmp_path)
    found = shown(capsys, *search, "--rounds", "2")
    assert [row["passed"] for row in found["probes"]] == [False, True, True]
    assert found["smallest"] == {k: v for k, v in found["probes"][1].items() if k != "passed"}
    assert found["judged"] is None
    assert parse_rules(Path(found["path"]).read_text())
    lexicon = lexicon_of("tiny")
    asked = {
        tuple(prompt.text for prompt in draw_suite(suite, COUNT, 0, lexicon)): suite
        for suite in (Suite.EXPLORATION, Suite.FINAL)
    }
    reports = list(runs.glob("*/report.json"))
    studies = [asked[tuple(pair.prompt for pair in read_report(path).pairs)] for path in reports]
    assert studies.count(Suite.FINAL) == 1
    assert studies.count(Suite.EXPLORATION) == len(found["probes"]) > 1
    clips = {(path.parent / FULL / "000.flac").stat().st_ino for path in reports}
    assert len(clips) == 2, "studies of the same prompts have the same full-precision clips"


@pytest.mark.parametrize("verdict", Verdict)
def test_a_search_goes_on_from_what_is_non_inferior_and_nothing_else(verdict: Verdict) -> None:
    record = FdRecord(
        embedder="none",
        estimator="split-half",
        n=512,
        n_ref=1,
        dim=1,
        full_precision=1.0,
        quantized=1.0,
        quantized_vs_full=0.0,
        verdict=verdict.value,
    )
    assert _passes(record) is (verdict is Verdict.NON_INFERIOR)
    assert not _passes(None)


def test_a_search_with_too_few_prompts_is_refused_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, table = tmp_path / "base.rules", tmp_path / "found.json"
    base.write_text("denoiser.mid_block.*to_* = w8\n* = keep\n")
    measuring = ("tiny", "--plan", str(base), *SMALL, "--out", str(tmp_path), "--to", str(table))
    assert main(["sensitivity", *measuring, "--scheme", "w4", "--scheme", "w8"]) == 0
    monkeypatch.setattr("ptq.metrics.embed.ear.find_ear", LogMel128)
    search = ("smallest", "tiny", "--plan", str(base), *SMALL, "--sensitivities", str(table))
    assert main(list(search)) == 2
    assert "1 prompts are too few for a verdict; give -n 512 or more" in capsys.readouterr().err
    assert main([*search, "--suite", "negation"]) == 2
    assert "leave --suite out" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    Path("smallest.rules").write_text("hours of work")
    assert main(list(search)) == 2
    assert "is there already; name another file with --to" in capsys.readouterr().err
