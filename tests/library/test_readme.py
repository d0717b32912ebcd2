"""What the README shows runs, on the model that ships."""

import re
from pathlib import Path

import numpy as np
import pytest

from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.adms.sampling import SamplingSettings
from ptq.config import QuantConfig, parse_rules
from ptq.generation import GenerationRequest, Generator
from ptq.plan import resolve_plan
from ptq.presets import preset
from ptq.quantize import quantize_

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
EMBEDDED = "mini-audioldm"


@pytest.fixture(scope="module")
def adm() -> AudioDiffusionModel:
    return load_adm(find_adm(EMBEDDED))


def test_its_rules_meet_the_layers(adm: AudioDiffusionModel) -> None:
    shown = re.search(r"`my\.rules` holds.*?\n\n(.*?)\n\n", README, re.DOTALL)
    assert shown is not None
    config = QuantConfig(name="my", rules=parse_rules(shown.group(1)))
    assert resolve_plan(config, layers_of(adm)).quantized


def test_its_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(shown.group(1), "README.md", "exec"), {})
    reduction, sqnr = capsys.readouterr().out.split()
    assert float(reduction) > 70.0
    assert float(sqnr) > 0.0
    assert list(tmp_path.glob("runs/*/report.json"))


def test_an_empty_plan_changes_no_sample_and_a_batch_next_to_none(adm: AudioDiffusionModel) -> None:
    settings = SamplingSettings(steps=2, guidance=2.5, seconds=1.28)
    request = GenerationRequest(prompts=("a dog barks", "rain falls"), seed=3, settings=settings)
    before = [clip.audio.samples for clip in Generator(adm=adm, batch_size=2)(request)]
    alone = [clip.audio.samples for clip in Generator(adm=adm, batch_size=1)(request)]
    plan = resolve_plan(preset("fp"), layers_of(adm))
    quantize_(adm.parts(), plan, {})
    after = [clip.audio.samples for clip in Generator(adm=adm, batch_size=2)(request)]
    for first, second, third in zip(before, after, alone, strict=True):
        assert np.array_equal(first, second)
        assert np.abs(first - third).max() < 1e-4
