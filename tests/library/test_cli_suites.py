"""What a study's prompts are drawn from, by its flags."""

from pathlib import Path

import pytest

from ptq.adms.registry import lexicon_of
from ptq.cli import EXIT_BAD_INPUT, main
from ptq.prompts.slices import Slice, draw_slice
from tests.cli_tools import SMALL, shown

pytestmark = pytest.mark.usefixtures("tiny_alone")


def test_a_study_takes_the_prompts_of_a_slice(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ("--suite", "negation", "--seed", "3", "--out", str(tmp_path))
    report = shown(capsys, "study", "tiny", "--preset", "fp", *SMALL, *flags)
    [drawn] = draw_slice(Slice.NEGATION, 1, 3, lexicon_of("tiny"))
    assert [pair["prompt"] for pair in report["pairs"]] == [drawn.text]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--suite", "negatoin"), "the nearest is 'negation'"),
        (("--suite", "negation", "--from", "mine.txt"), "leave --from or --suite out"),
    ],
)
def test_a_suite_that_cannot_be_drawn_is_refused(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    assert main(["study", "tiny", *flags]) == EXIT_BAD_INPUT
    assert message in capsys.readouterr().err
