"""A model whose heavy parts compute on another device says what it says on the CPU.

But for the order of sums: torch has other kernels for other devices, also for the one of tests.
"""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.placed import placed
from ptq.adms.sampling import SamplingSettings
from ptq.affine import sqnr_db
from ptq.calibration.calibrator import Calibration, Calibrator
from ptq.calibration.purposes import Purpose
from ptq.calibration.replay import Replay
from ptq.calibration.rounding import rounded_weights
from ptq.calibration.signatures import measure_signatures
from ptq.config import QuantConfig, parse_rules
from ptq.generation import GeneratedClip, GenerationRequest, Generator
from ptq.plan import QuantPlan, resolve_plan
from ptq.quantize import quantize_
from tests.calibrations import drawn
from tests.elsewhere import elsewhere

SETTINGS = SamplingSettings(steps=2, guidance=2.5, seconds=0.32)
RULES = "denoiser.mid_block.* = w4 asym group mse a8\ndenoiser.* = w4 a8\nvae.* = w8\n* = keep"


def plan_of(adm: AudioDiffusionModel, rules: str) -> QuantPlan:
    return resolve_plan(QuantConfig(name="test", rules=parse_rules(rules)), layers_of(adm))


def clips_of(adm: AudioDiffusionModel) -> list[GeneratedClip]:
    request = GenerationRequest(prompts=("a dog barks", "rain"), seed=1, settings=SETTINGS)
    return list(Generator(adm=adm)(request))


def alike(ours: NDArray[np.float32], theirs: NDArray[np.float32], least_db: float = 60.0) -> bool:
    return sqnr_db(torch.from_numpy(theirs), torch.from_numpy(ours)) > least_db


@pytest.fixture(scope="module")
def calibration(tiny_adm: AudioLDM) -> Calibration:
    return Calibrator(adm=tiny_adm, sampling=SETTINGS, wanted=drawn())(plan_of(tiny_adm, RULES))


@pytest.fixture(scope="module")
def quantized(tiny_adm: AudioLDM, calibration: Calibration) -> AudioDiffusionModel:
    other = copy.deepcopy(tiny_adm)
    quantize_(other.parts(), plan_of(tiny_adm, RULES), calibration.stats)
    return other


@pytest.fixture(params=["full precision", "quantized"])
def adm(
    request: pytest.FixtureRequest, tiny_adm: AudioLDM, quantized: AudioDiffusionModel
) -> AudioDiffusionModel:
    return quantized if request.param == "quantized" else tiny_adm


def test_clips_are_the_same(adm: AudioDiffusionModel) -> None:
    expected = clips_of(adm)
    with elsewhere() as device:
        there = placed(adm, device)
        assert all(p.device == device for p in there.parts()["denoiser"].parameters())
        found = clips_of(there)
        # Of the same latents: 8-bit activations send tiny differences to other levels.
        mels = [there.decode(torch.from_numpy(clip.latents[-1:])) for clip in expected]
    for ours, mel, theirs in zip(found, mels, expected, strict=True):
        assert alike(ours.latents, theirs.latents, least_db=30.0)
        assert ours.audio.samples.shape == theirs.audio.samples.shape
        wanted = adm.decode(torch.from_numpy(theirs.latents[-1:]))
        assert alike(mel.numpy(), wanted.numpy())


def test_the_model_itself_stays(tiny_adm: AudioLDM) -> None:
    with elsewhere() as device:
        placed(tiny_adm, device)
    assert all(p.device.type == "cpu" for p in tiny_adm.unet.parameters())
    assert placed(tiny_adm, torch.device("cpu")) is tiny_adm


@pytest.mark.parametrize("rounding", ["gptq", "adaround", "brecq"])
def test_codes_are_the_same(rounding: str, tiny_adm: AudioLDM, calibration: Calibration) -> None:
    plan = plan_of(
        tiny_adm, f"denoiser.mid_block.resnets.0.conv1 = w3 asym mse {rounding}\n* = keep"
    )
    states = calibration.sets[Purpose.RECONSTRUCTION]
    expected = rounded_weights(Replay(adm=tiny_adm, states=states), plan)
    with elsewhere() as device:
        found = rounded_weights(Replay(adm=placed(tiny_adm, device), states=states), plan)
        assert all(weight.codes.device == device for weight in found.values())
        back = {name: weight.cpu() for name, weight in found.items()}
    assert back.keys() == expected.keys()
    for name, weight in expected.items():
        assert (back[name].codes == weight.codes).float().mean() > 0.98, name
        assert torch.equal(back[name].scale, weight.scale), name


def test_states_are_described_the_same(tiny_adm: AudioLDM, calibration: Calibration) -> None:
    states = calibration.sets[Purpose.STATISTICS]
    expected = measure_signatures(Replay(adm=tiny_adm, states=states))
    with elsewhere() as device:
        found = measure_signatures(Replay(adm=placed(tiny_adm, device), states=states))
    assert alike(found.shapes, expected.shapes)
    assert alike(found.middle, expected.middle)
    for name, peaks in expected.peaks.items():
        assert alike(found.peaks[name], peaks)
        assert alike(found.sensitivity[name], expected.sensitivity[name])


def test_the_stand_in_fails_as_a_gpu_does() -> None:
    here = torch.ones(3)
    with elsewhere() as device:
        there = here.to(device)
        assert float((there * 2).cpu().sum()) == 6.0
        with pytest.raises(RuntimeError, match="two devices"):
            there.add(here)
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()
