"""Every subcommand of the command line, with results on stdout and one sentence for bad input."""

import json
import shutil
from pathlib import Path

import pytest

from ptq.adms.audioldm import AudioLDM
from ptq.adms.registry import LOCAL_VARIABLE
from ptq.audio import read_clip
from ptq.calibration.prompt_choice import PromptChoice
from ptq.cli import EXIT_BAD_INPUT, main
from ptq.cli_prompts import audited
from ptq.prompts.files import read_prompts
from tests.cli_tools import SMALL, shown

pytestmark = pytest.mark.usefixtures("tiny_alone")


def test_adms_lists_local_folders(capsys: pytest.CaptureFixture[str], tiny_folder: Path) -> None:
    cards = {card["id"]: card for card in shown(capsys, "adms")["adms"]}
    size = sum(path.stat().st_size for path in tiny_folder.rglob("*") if path.is_file())
    assert cards["tiny"] == {
        "id": "tiny",
        "family": "audioldm",
        "size_bytes": size,
        "licence": "the publisher's",
        "source": tiny_folder.name,
        "state": "local",
    }
    assert main(["adms"]) == 0
    assert "| tiny | audioldm |" in capsys.readouterr().out


def test_layers_shows_the_bits_of_every_layer(capsys: pytest.CaptureFixture[str]) -> None:
    full = shown(capsys, "layers", "tiny", "--preset", "fp")
    quantized = shown(capsys, "layers", "tiny", "--preset", "w4a8")
    assert len(full["layers"]) == len(quantized["layers"])
    assert {layer["w_bits"] for layer in full["layers"]} == {16}
    assert 4 in {layer["w_bits"] for layer in quantized["layers"]}
    assert quantized["size_bytes"] < full["size_bytes"]


def test_a_plan_file_is_followed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rules = tmp_path / "mine.rules"
    rules.write_text("denoiser.conv_in = keep\ndenoiser.* = w4\n* = keep\n")
    layers = shown(capsys, "layers", "tiny", "--plan", str(rules))["layers"]
    bits = {layer["name"]: layer["w_bits"] for layer in layers}
    assert bits["denoiser.conv_in"] == 16
    assert bits["denoiser.conv_out"] == 4


def test_prompts_come_with_their_coverage(capsys: pytest.CaptureFixture[str]) -> None:
    value = shown(capsys, "prompts", "tiny", "--prompts", "5", "--seed", "3")
    assert len(set(value["prompts"])) == 5
    assert 0 < value["coverage"]["cells"] <= 1
    assert main(["prompts", "tiny", "--prompts", "5", "--seed", "3"]) == 0
    printed = capsys.readouterr()
    assert (printed.out.splitlines(), printed.err[:7]) == (value["prompts"], "| round")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.txt", "a dog barks\n\na dog barks loudly\n"),
        ("mine.csv", "id,caption\n1,a dog barks\n2,a dog barks loudly\n"),
        ("mine.jsonl", '{"text": "a dog\u2028barks"}\n"a dog barks loudly"\n'),
    ],
)
def test_a_file_of_prompts_is_audited_and_augmented(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, content: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    value = shown(capsys, "prompts", "tiny", "--from", str(path), "-n", "12")
    assert len(value["prompts"]) == 12
    assert value["coverage"]["cells"] > value["given"]["cells"]
    assert "a cat meows" in value["lacks"]["sources"]
    assert "a dog barks" not in value["lacks"]["sources"]
    cells = [found["cells"] for found in value["rounds"]]
    assert cells[0] < cells[-1]
    assert cells == sorted(cells)
    written = tmp_path / "mine-augmented.txt"
    assert value["path"] == str(written)
    assert written.read_text().splitlines() == value["prompts"]
    assert value["prompts"][:2] == ["a dog barks", "a dog barks loudly"], "given ones stay"
    assert main(["prompts", "tiny", "--from", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    rows = tmp_path / "rows.jsonl"
    assert main(["prompts", "tiny", "--from", str(path), "-n", "3", "--out", str(rows)]) == 0
    described = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [row["given"] for row in described] == [True, True, False]
    assert described[1]["families"] == ["animal"]
    assert "loud" in described[1]["aspects"]
    assert read_prompts(rows) == tuple(row["prompt"] for row in described)
    columns = tmp_path / "columns.csv"
    assert main(["prompts", "tiny", "--from", str(path), "-n", "3", "--out", str(columns)]) == 0
    assert read_prompts(columns) == read_prompts(rows)
    assert columns.read_text().splitlines()[:2] == [
        "prompt,given,families,aspects",
        f"a dog barks,True,animal,{'; '.join(described[0]['aspects'])}",
    ]
    capsys.readouterr()
    out = tmp_path / "other.txt"
    assert main(["prompts", "tiny", "--from", str(path), "-n", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "Lacking sources: a person talks; " in printed
    assert "| round | near | radius | cells |" in printed
    assert len(out.read_text().splitlines()) == 3


def test_prompts_that_say_the_same_are_named_where_they_are_left_out(tiny_adm: AudioLDM) -> None:
    given = ("a dog barks", "A dog barks", "a  dog barks", "rain falls")
    value, text = audited(PromptChoice(tiny_adm, 0).audit(given, 8), given=True)
    assert value["twins"] == ("A dog barks",)
    assert "Left out, for others say nearly the same: A dog barks." in text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,words\n1,rain\n", "no column is called prompt, caption, text"),
        ("a.jsonl", '{"text": "rain"}\n{"id": 3}\n', "line 2 holds no prompt"),
        ("a.jsonl", "rain\n", "cannot be read"),
        ("a.tsv", "prompt\nrain\n", "is none of .txt, .csv and .jsonl"),
        ("a.txt", " \n", "has no prompts"),
    ],
)
def test_a_file_without_prompts_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    assert main(["prompts", "tiny", "--from", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--from", "mine.txt", "-n", "4"), "not allowed with argument"),
        (("--calibration-from", "run", "--calibration-seed", "2"), "has its own seed; leave"),
        (("--calibration-from", "run", "--no-covering"), "has its own covering; leave"),
        (("-n", "0"), "prompt"),
    ],
)
def test_flags_that_would_be_ignored_are_refused(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    try:
        code = main(["study", "tiny", *flags])
    except SystemExit as error:  # what argparse refuses by itself
        code = int(error.code or 0)
    assert code == EXIT_BAD_INPUT
    assert message in capsys.readouterr().err


def test_stages_can_be_run_one_by_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    common = ("tiny", "--preset", "w8a8", *SMALL, "--out", str(tmp_path))
    calibrated = shown(capsys, "calibrate", *common)
    assert calibrated["layers"] > 0
    assert {"radius", "range_mean"} < {*calibrated["prompt_coverage"], *calibrated["coverage"]}
    stats = Path(calibrated["path"])
    written = stats.stat().st_mtime_ns
    quantized = shown(capsys, "quantize", *common)
    packed = Path(quantized["path"])
    assert packed.parent == stats.parents[1]
    assert stats.stat().st_mtime_ns == written
    assert quantized["bytes"] == sum(path.stat().st_size for path in packed.iterdir())


def test_a_calibration_that_was_sampled_otherwise_warns_whoever_quantizes_by_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    common = ("tiny", "--preset", "w8a8", "--out", str(tmp_path))
    folder = Path(shown(capsys, "calibrate", *common, *SMALL)["path"]).parents[1]
    sampling = ("--steps", "3", "--seconds", "0.64", "--prompts", "1")
    assert main(["quantize", *common, *sampling, "--calibration-from", str(folder)]) == 0
    assert "warning: Calibrated with steps 2, sampled with 3" in capsys.readouterr().err


def test_generate_writes_a_clip(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "clip.flac"
    arguments = ("generate", "tiny", "a dog barks", *SMALL[:4], "--out", str(out))
    assert shown(capsys, *arguments) == {"path": str(out), "seconds": 0.64}
    assert read_clip(out).seconds == 0.64


def test_study_report_and_compare(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a dog barks\n\n")
    reports = {}
    for name in ("fp", "w4a16"):
        options = (*SMALL[:4], "--from", str(prompts), "--preset", name, "--out", str(tmp_path))
        assert main(["study", "tiny", *options, "--json"]) == 0
        printed = capsys.readouterr()
        reports[name] = json.loads(printed.out)
        assert "quantized clips  1/1" in printed.err
    runs = {
        json.loads(p.read_text())["plan"]["name"]: p.parent for p in tmp_path.rglob("report.json")
    }
    assert set(runs) == {"fp", "w4a16"}
    assert [pair["prompt"] for pair in reports["fp"]["pairs"]] == ["a dog barks"]
    assert shown(capsys, "report", str(runs["fp"])) == reports["fp"]
    compared = shown(capsys, "compare", str(runs["fp"]), str(runs["w4a16"]))
    assert compared["plans"] == ["fp", "w4a16"]
    size = compared["figures"]["size (MB)"]
    assert size["second"] < size["first"]
    assert compared["differ"] == []
    assert compared["figures"]["pairs"] == {"first": 1, "second": 1}
    options = (*SMALL[:4], "--seed", "1", "--from", str(prompts), "--preset", "fp")
    assert main(["study", "tiny", *options, "--out", str(tmp_path / "other")]) == 0
    (other,) = (tmp_path / "other").glob("*/report.json")
    capsys.readouterr()
    assert main(["compare", str(runs["fp"]), str(other.parent)]) == 0
    assert "The runs differ in the seed, too:" in capsys.readouterr().out
    assert main(["report", str(runs["fp"])]) == 0
    assert capsys.readouterr().out.startswith("# tiny: fp")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("layers nobody", "There is no ADM 'nobody'; the nearest is"),
        ("layers tiny --preset w8a9", "w8a9"),
        ("layers tiny --plan gone.rules", "The plan gone.rules cannot be read"),
        ("prompts tiny --prompts 0", "ask for 1 or more"),
        ("prompts tiny --seed -1", "from seed -1; choose 0 or more"),
        ("study tiny --calibration-seed -1", "The calibration seed is -1; choose 0 or more"),
        ("study tiny --steps 0", "0 steps are out of range; choose 1 to"),
        ("study tiny --from gone.txt", "The prompts in gone.txt cannot be read"),
        ("study tiny --prompts 0", "ask for 1 or more"),
        ("generate tiny x --steps 0", "0 steps are out of range; choose 1 to"),
        ("generate tiny x --seconds 1000", "1000.0 s is out of range; choose"),
        ("report nowhere", "There is no report.json in nowhere; name the folder"),
        ("compare nowhere here", "There is no report.json in nowhere; name the folder"),
    ],
)
def test_bad_input_ends_with_one_sentence(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == EXIT_BAD_INPUT
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not list(tmp_path.iterdir())


def test_a_local_folder_that_does_not_exist_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for entry, message in (
        ("mine=/nowhere/at/all", "points 'mine' to '/nowhere/at/all', which is not a folder"),
        ("no-name", "has the entry 'no-name'; write name=folder"),
    ):
        monkeypatch.setenv(LOCAL_VARIABLE, entry)
        assert main(["adms"]) == EXIT_BAD_INPUT
        assert f"{LOCAL_VARIABLE} {message}" in capsys.readouterr().err


def test_an_unknown_subcommand_or_flag_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["dance"], ["adms", "--loud"], ["study", "tiny", "--steps", "many"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == EXIT_BAD_INPUT
        assert "usage:" in capsys.readouterr().err


def test_what_cannot_be_written_is_said_before_anything_is_computed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    assert main(["study", "tiny", *SMALL, "--link", "taken"]) == EXIT_BAD_INPUT
    assert "name another place for the link" in capsys.readouterr().err
    assert main(["generate", "tiny", "a dog barks", "--out", "clip.wav"]) == EXIT_BAD_INPUT
    assert "end 'clip.wav' in .flac" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_the_model_decides_the_guidance_that_is_not_given(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(tiny_folder, tmp_path / "tiny")
    index = tmp_path / "tiny" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "default_guidance": 4.5}))
    monkeypatch.setenv(LOCAL_VARIABLE, f"tiny={tmp_path / 'tiny'}")
    run = ("study", "tiny", *SMALL, "--out", str(tmp_path / "runs"), "--preset", "w8a16")
    assert shown(capsys, *run)["settings"]["guidance"] == 4.5
    assert shown(capsys, *run, "--guidance", "1")["settings"]["guidance"] == 1.0
