"""Other toolkits and PTQ4ADM are compared alike: the same calls, the same layers, known recipes."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import toolkits
from benchmarks.allocations import allocator_of
from benchmarks.denoiser_calls import calls_of, is_end
from benchmarks.onnx_denoiser import OnnxDenoiser
from benchmarks.toolkit_weights import TOOLKITS, with_weights
from benchmarks.toolkits import NAMES, denoiser_alone, recipe
from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import layers_of
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.adms.sampling import SamplingSettings
from ptq.affine import sqnr_db
from ptq.allocate import Allocation
from ptq.calibration.replay import Replay
from ptq.calibration.states import StateRecorder, StateSet, all_states
from ptq.layer_spec import DENOISER
from ptq.plan import resolve_plan
from ptq.presets import preset

SETTINGS = SamplingSettings(steps=2, guidance=2.5, seconds=0.64)


def test_equal_bytes_are_compared_by_the_denoiser_alone(tiny_adm: AudioLDM) -> None:
    plan = resolve_plan(preset("ptq4adm"), layers_of(tiny_adm))
    allocation = Allocation(plan=plan, error=0.0, size_bytes=0)
    for activations in (False, True):
        found = denoiser_alone(allocation, activations=activations)
        own = [rule for rule in found.rules if rule.pattern.startswith(f"{DENOISER}.")]
        assert any(rule.scheme.weight is not None for rule in own)
        assert any(rule.scheme.activation is not None for rule in own) is activations
        assert all(rule.scheme.keeps for rule in found.rules if rule not in own)


def test_static_ranges_are_compared_with_static_ranges() -> None:
    adm = load_adm(find_adm("mini-audioldm"))
    for dynamic in (True, False):
        allocator = allocator_of(adm, dynamic=dynamic)
        found = allocator(sum(allocator.limits()) // 2)
        schemes = [spec.scheme.activation for spec in found.plan.quantized]
        is_dynamic = [s for s in schemes if s is not None and not s.is_static]
        assert bool(is_dynamic) is dynamic


def test_what_a_toolkit_is_shown_is_what_the_sampler_asks(tiny_adm: AudioLDM) -> None:
    recorder = StateRecorder(adm=tiny_adm, settings=SETTINGS, seed=1, batch_size=2)
    pool = recorder.record(("a dog barks", "rain falls"))
    states = StateSet.of(pool, all_states(pool))
    said = []
    for call in calls_of(tiny_adm, states):
        with torch.no_grad():
            uncond, cond = tiny_adm.unet(**call, encoder_hidden_states=None).sample
        said.append(uncond + SETTINGS.guidance * (cond - uncond))
    predicted = Replay(adm=tiny_adm, states=states).predictions()
    assert sqnr_db(predicted, torch.stack(said)) > 80.0


def test_the_ends_are_what_the_preset_keeps(tiny_adm: AudioLDM) -> None:
    for spec in resolve_plan(preset("ptq4adm"), layers_of(tiny_adm)).layers:
        part, _, name = spec.name.partition(".")
        if part == DENOISER and spec.scheme.weight is None and "attn" not in name:
            assert is_end(name), name
        if part == DENOISER and spec.scheme.weight is not None:
            assert not is_end(name), name


def test_a_toolkit_that_is_called_otherwise_is_measured_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipes = {name: recipe(name) for name in NAMES}
    assert len(set(recipes.values())) == len(NAMES)
    monkeypatch.setattr(toolkits, "TOOLKITS", {**TOOLKITS, "torchao": TOOLKITS["nncf"]})
    assert recipe("torchao") == recipes["nncf"] != recipes["torchao"]
    assert recipe("sdnq") == recipes["sdnq"]


def test_a_toolkits_weights_are_put_in_place_of_the_layers_own() -> None:
    layer = nn.Sequential(nn.Linear(3, 2, bias=False))
    other = with_weights(layer, {"0": torch.ones(2, 3)})
    assert torch.equal(other(torch.ones(1, 3)), torch.full((1, 2), 3.0))
    with pytest.raises(SystemExit, match="changed the shape of 0"):
        with_weights(layer, {"0": torch.ones(3, 2)})


def test_an_exported_denoiser_travels_without_its_session() -> None:
    denoiser = OnnxDenoiser(Path("int8.onnx"), None)
    denoiser._session = lambda: None  # nothing that another process could be sent
    assert pickle.loads(pickle.dumps(denoiser))._session is None
