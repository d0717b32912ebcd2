"""What calibration covered, drawn: prompts on a map, and each layer's range."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from app.figures.coverage import prompt_map, range_coverage
from app.handlers.results import ResultsHandlers
from app.jobs import new_token
from app.prompt_map import PromptMap, PromptPoints
from app.settings import Settings
from app.workbench import EXAMPLE_ID, Workbench
from ptq.adms.audioldm import AudioLDM
from ptq.presets import preset
from ptq.study import run_folder_of, run_study
from ptq.study_config import StudyConfig
from tests.calibrations import drawn

CONFIG = StudyConfig(
    adm="tiny",
    quant=preset("w8a8"),
    prompts=("a <b>dog</b> barks", "rain falls"),
    steps=2,
    seconds=0.64,
    calibration=replace(drawn(prompts=2, states=2, reconstruction=1), strategy="activation-aware"),
)


def points(*texts: str) -> PromptPoints:
    return PromptPoints(texts=texts, at=np.zeros((len(texts), 2)))


def test_the_map_shows_three_kinds_of_prompts_without_markup() -> None:
    figure = prompt_map(points("rain"), points(""), points("a <b>dog</b> barks " * 9))
    assert [len(trace.x) for trace in figure.data] == [1, 1, 1]
    assert figure.data[1].text[0] == "(nothing)"
    shown = figure.data[2].text[0]
    assert shown.startswith("a &lt;b&gt;dog")
    assert shown.endswith("…")


def test_ranges_are_per_cent_of_the_peak_or_said_to_be_unmeasured() -> None:
    shares = {"denoiser.a": 0.5, "denoiser.b": 1.0}
    figure = range_coverage(shares, {"denoiser.a": 0.25, "denoiser.b": 0.75})
    assert [list(trace.y) for trace in figure.data] == [[25.0, 75.0], [50.0, 100.0]]
    assert [list(trace.x) for trace in figure.data] == [[1, 2], [1, 2]]
    assert figure.layout.yaxis.range[0] == 20.0, "it begins below the worst layer"
    assert list(range_coverage(shares, {}).data[1].y) == [50.0, 100.0], "runs of earlier versions"
    assert "Not measured" in range_coverage({}, {}).layout.annotations[0].text


def test_the_map_spreads_what_the_model_tells_apart(tiny_adm: AudioLDM) -> None:
    placed = PromptMap(lambda: tiny_adm)
    assert placed.usual.at.shape == (len(placed.usual.texts), 2)
    assert placed.usual.at.std(axis=0).min() > 0
    assert placed.of(()).at.shape == (0, 2)
    twice = placed.of(("rain falls", "rain falls")).at
    assert np.array_equal(twice[0], twice[1])


def test_a_run_shows_what_its_calibration_covered(
    tiny_adm: AudioLDM, tiny_folder: Path, tmp_path: Path
) -> None:
    run_study(CONFIG, tiny_adm, runs=tmp_path, ear="no ear")
    featured = run_folder_of(CONFIG, tiny_adm, tmp_path).path
    settings = Settings(runs=tmp_path, local_adms={"tiny": tiny_folder}, featured_run=featured)
    handlers, token = ResultsHandlers(Workbench(settings)), new_token()
    places, ranges = handlers.show_coverage(token, EXAMPLE_ID)
    assert [len(trace.x) for trace in places.data][1:] == [2, 2]
    random, chosen = (trace.y for trace in ranges.data)
    assert len(random) == len(chosen) > 20
    assert max(random) <= max(chosen) <= 100.0
    gone = replace(settings, local_adms={})
    places, ranges = ResultsHandlers(Workbench(gone)).show_coverage(token, EXAMPLE_ID)
    assert "not here any more" in places.layout.annotations[0].text
    assert len(ranges.data) == 2
