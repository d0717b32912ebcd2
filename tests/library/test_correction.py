"""PTQD: the predictable part of the quantization noise is found, and undone while sampling."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ptq.adms.audioldm import AudioLDM
from ptq.adms.sampling import NoiseTape, Sampler, SamplingSettings
from ptq.calibration.correction import SamplerCorrection, fit_correction
from ptq.calibration.purposes import spread
from ptq.calibration.replay import Replay
from ptq.calibration.states import StateRecorder, StateSet, all_states
from ptq.config import QuantConfig, parse_rules
from ptq.errors import CalibrationError
from ptq.layers import get_layer
from ptq.study import run_folder_of, run_study
from ptq.study_config import StudyConfig
from tests.calibrations import drawn

STEPS = 4
SETTINGS = SamplingSettings(steps=STEPS, guidance=2.5, seconds=0.64)


@pytest.fixture(scope="module")
def states(tiny_adm: AudioLDM) -> StateSet:
    prompts = ("a dog barks", "rain falls", "a bell rings")
    pool = StateRecorder(adm=tiny_adm, settings=SETTINGS, seed=1).record(prompts)
    return StateSet.of(pool, spread(all_states(pool), 12, 1))


@pytest.fixture(scope="module")
def louder(tiny_adm: AudioLDM) -> AudioLDM:
    """A model that says a quarter too much, and a little more of one channel."""
    other = copy.deepcopy(tiny_adm)
    last = get_layer(other.parts(), "denoiser.conv_out")
    with torch.no_grad():
        last.get_parameter("weight").mul_(1.25)
        last.get_parameter("bias").mul_(1.25)
        last.get_parameter("bias")[0] += 0.1
    return other


@dataclass(frozen=True, kw_only=True)
class Saying(Replay):
    """A replay whose predictions are given."""

    said: Tensor

    def predictions(self) -> Tensor:
        return self.said


@pytest.mark.parametrize("scale", [0.0, 0.3], ids=["uncorrelated", "scaled"])
def test_scale_mean_and_deviation_of_the_noise_are_told_apart(
    tiny_adm: AudioLDM, states: StateSet, scale: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    step = states.steps.reshape(-1, 1, 1, 1)
    channel = torch.arange(8).reshape(1, -1, 1, 1)
    # A level of its own, which a fit without means would take for a share of the noise.
    exact = 1.0 + torch.randn((len(states), 8, 64, 64), generator=generator)
    own = 0.05 * (1 + step) * torch.randn(exact.shape, generator=generator)
    close = exact + scale * step * exact + 0.1 * channel + own
    full, quantized = (Saying(adm=tiny_adm, states=states, said=x) for x in (exact, close))
    found = fit_correction(full, quantized)
    every = torch.arange(STEPS)
    assert torch.allclose(found.scale, scale * every, atol=5e-3)
    assert torch.allclose(found.mean, 0.1 * torch.arange(8).expand(STEPS, 8), atol=1e-2)
    assert torch.allclose(found.deviation, 0.05 * (1.0 + every), rtol=1e-2)
    for index in range(STEPS):
        here = states.steps == index
        left = (found(close[here], index) - exact[here]).square().mean().sqrt()
        assert float(left) == pytest.approx(0.05 * (1 + index) / (1 + scale * index), rel=2e-2)


def test_noise_that_follows_the_prediction_is_found(
    tiny_adm: AudioLDM, louder: AudioLDM, states: StateSet
) -> None:
    found = fit_correction(Replay(adm=tiny_adm, states=states), Replay(adm=louder, states=states))
    assert torch.allclose(found.scale, torch.full((STEPS,), 0.25), atol=0.02)
    assert float(found.mean[:, 0].mean()) == pytest.approx(0.1, abs=0.02)
    assert float(found.deviation.max()) < 0.02


def test_the_sampler_undoes_it(tiny_adm: AudioLDM, louder: AudioLDM, states: StateSet) -> None:
    correct = fit_correction(Replay(adm=tiny_adm, states=states), Replay(adm=louder, states=states))
    conditioning = tiny_adm.encode(("a train passes", "a cat meows"))
    tape = NoiseTape(7)
    exact = Sampler(adm=tiny_adm, settings=SETTINGS)(conditioning, tape, (0, 1))
    plain = Sampler(adm=louder, settings=SETTINGS)(conditioning, tape, (0, 1))
    undone = Sampler(adm=louder, settings=SETTINGS, correct=correct)(conditioning, tape, (0, 1))
    assert (undone - exact).norm() < 0.1 * (plain - exact).norm()


def test_a_model_without_noise_is_left_alone(tiny_adm: AudioLDM, states: StateSet) -> None:
    replay = Replay(adm=tiny_adm, states=states)
    found = fit_correction(replay, replay)
    assert not found.scale.any()
    assert not found.mean.any()
    predicted = torch.ones(2, 8, 4, 4)
    assert torch.equal(found(predicted, 1), predicted)


def test_a_shrunken_prediction_is_not_blown_up(tiny_adm: AudioLDM, states: StateSet) -> None:
    """As in the paper's code: k is never negative."""
    quiet = copy.deepcopy(tiny_adm)
    with torch.no_grad():
        get_layer(quiet.parts(), "denoiser.conv_out").get_parameter("weight").mul_(0.5)
    found = fit_correction(Replay(adm=tiny_adm, states=states), Replay(adm=quiet, states=states))
    assert not found.scale.any()


def test_a_step_without_states_is_named(tiny_adm: AudioLDM, states: StateSet) -> None:
    kept = states.steps != 2
    fewer = replace(
        states, inputs=states.inputs[kept], rows=states.rows[kept], steps=states.steps[kept]
    )
    replay = Replay(adm=tiny_adm, states=fewer)
    with pytest.raises(CalibrationError, match="No held-out state lies at step 3"):
        fit_correction(replay, replay)


def test_a_corrected_study_keeps_its_correction_and_comes_closer(
    tiny_adm: AudioLDM, tmp_path: Path
) -> None:
    config = StudyConfig(
        adm=tiny_adm.id,
        quant=QuantConfig(name="rough", rules=parse_rules("denoiser.* = w2 channel a8")),
        prompts=("a dog barks",),
        steps=2,
        seconds=0.64,
        calibration=drawn(prompts=1, states=1, reconstruction=1),
        corrected=True,
    )
    corrected = run_study(config, tiny_adm, runs=tmp_path, ear="no ear")
    path = run_folder_of(config, tiny_adm, tmp_path).path / "packed/correction.safetensors"
    assert path.exists()
    plain = run_study(replace(config, corrected=False), tiny_adm, runs=tmp_path, ear="no ear")
    closeness = [report.paired.latent_sqnr_db for report in (plain, corrected)]
    assert closeness[0] is not None
    assert closeness[1] is not None
    assert closeness[1] > closeness[0] + 0.2
    assert corrected.settings["corrected"] is True


def test_a_correction_is_written_and_read_back() -> None:
    tensors = {"scale": torch.zeros(2), "mean": torch.rand(2, 8), "deviation": torch.ones(2)}
    again = SamplerCorrection.from_tensors(tensors).to_tensors()
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], value) for name, value in tensors.items())
