"""Sensitivities: the closed form is what the layer does, and measuring leaves no trace."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import layers_of
from ptq.adms.sampling import SamplingSettings
from ptq.algorithms import quantize_weight
from ptq.allocate import Allocator
from ptq.calibration.calibrator import sites_to_watch
from ptq.calibration.observe import Observation, observe_states
from ptq.calibration.replay import Replay, watching
from ptq.calibration.states import StateRecorder, StateSet
from ptq.config import QuantConfig, parse_rules
from ptq.errors import Cancelled, ConfigError
from ptq.layers import get_layer, inventory
from ptq.observers import CalibrationStats
from ptq.plan import QuantPlan, resolve_plan
from ptq.quantize import Prepared, quantize_, quantize_layer, weight_rows
from ptq.scheme import WeightScheme
from ptq.sensitivity import SensitivityMeter

RULES = "denoiser.conv_in = keep\ndenoiser.mid_block.*conv* = w4a8\ndenoiser.*to_* = w4a8\n* = keep"
BITS = ("w2 channel", "w4 channel", "w8 channel")


@pytest.fixture(scope="module")
def replay(tiny_adm: AudioLDM) -> Replay:
    settings = SamplingSettings(steps=3, guidance=2.5, seconds=0.64)
    pool = StateRecorder(adm=tiny_adm, settings=settings, seed=1).record(("a dog barks", "rain"))
    return Replay(adm=tiny_adm, states=StateSet.of(pool, np.array([[0, 0], [1, 1], [0, 2]])))


@pytest.fixture(scope="module")
def base(tiny_adm: AudioLDM) -> QuantPlan:
    layers = layers_of(tiny_adm)
    return resolve_plan(QuantConfig(name="x", rules=parse_rules(RULES)), layers)


@pytest.fixture(scope="module")
def meter(replay: Replay, base: QuantPlan) -> SensitivityMeter:
    layers = layers_of(replay.adm)
    stats = observe_states(replay, Observation(sites=sites_to_watch(base, layers)))
    return SensitivityMeter(replay=replay, fitting=replay, stats=stats, base=base, calibration="c")


def test_more_bits_never_hurt_more(meter: SensitivityMeter, base: QuantPlan) -> None:
    for found in (meter.output(BITS), meter.prediction(BITS)):
        assert set(found.errors) == {spec.name for spec in base.quantized}
        for name, row in found.errors.items():
            assert row["w2 channel"] > row["w4 channel"] > row["w8 channel"] > 0, name
        assert found.model_hash == meter.replay.adm.source_hash


def test_the_closed_form_is_the_layers_own_error(meter: SensitivityMeter) -> None:
    parts = meter.replay.adm.parts()
    infos = {info.name: info for info in inventory(parts, meter.replay.adm.splits())}
    for name in ("denoiser.mid_block.resnets.0.conv1", "denoiser.mid_block.resnets.1.conv2"):
        layer = get_layer(parts, name)
        seen: list[Tensor] = []
        with watching(parts, {name: seen.append}):
            meter.replay({"denoiser"})
        rows = weight_rows(layer, infos[name])
        found = quantize_weight(
            rows, WeightScheme(bits=4, symmetric=False), infos[name].columns
        ).dequantize()
        weight = layer.weight
        assert isinstance(weight, Tensor)
        signal = noise = 0.0
        for values in seen:
            exact = torch.nn.functional.conv2d(values, weight, padding=1)
            rough = torch.nn.functional.conv2d(values, found.reshape(weight.shape), padding=1)
            signal += float(exact.square().sum())
            noise += float((exact - rough).square().sum())
        closed = meter.output(("w4 channel",)).errors[name]["w4 channel"]
        assert closed == pytest.approx(noise / signal, rel=1e-3)


def test_activations_add_their_noise(meter: SensitivityMeter) -> None:
    schemes = ("w8 channel", "w8 channel a8", "w8 channel a4", "w8 channel a8 dynamic")
    for row in meter.output(schemes).errors.values():
        assert row["w8 channel a4"] > row["w8 channel a8"] > row["w8 channel"]
        assert row["w8 channel a8 dynamic"] > row["w8 channel"]


def test_rounding_by_data_shows(meter: SensitivityMeter) -> None:
    schemes = ("w3 channel", "w3 channel gptq")
    errors = meter.output(schemes).errors
    assert all(row["w3 channel gptq"] <= row["w3 channel"] * 1.0001 for row in errors.values())
    total = [sum(row[words] for row in errors.values()) for words in schemes]
    assert total[1] < 0.95 * total[0]


@torch.no_grad()
def branches_of(adm: AudioLDM, states: StateSet) -> tuple[Tensor, Tensor]:
    """What the denoiser says of each state without its text and with it, before any merge."""
    times, encoded = adm.schedule(states.settings.steps), adm.encode(states.prompts)
    places = list(zip(states.inputs, states.rows, states.steps, strict=True))
    without, with_text = (
        torch.cat(
            [
                adm.denoise(x[None], times[step], {key: v[row][None] for key, v in given.items()})
                for x, row, step in places
            ]
        )
        for given in (encoded.uncond, encoded.cond)
    )
    return without, with_text


def test_the_error_of_a_prediction_is_taken_after_the_branches_are_merged(
    tiny_adm: AudioLDM, replay: Replay
) -> None:
    name, words = "denoiser.mid_block.resnets.0.conv1", "w2 channel"
    config = QuantConfig(name="one", rules=parse_rules(f"{name} = {words}\n* = keep"))
    plan = resolve_plan(config, layers_of(tiny_adm))
    rough = copy.deepcopy(tiny_adm)
    quantize_(rough.parts(), plan)
    said = [branches_of(adm, replay.states) for adm in (tiny_adm, rough)]
    found = []
    for scale in (1.5, 30.0):
        settings = replace(replay.states.settings, guidance=scale)
        here = Replay(adm=tiny_adm, states=replace(replay.states, settings=settings))
        meter = SensitivityMeter(replay=here, fitting=here, stats={}, base=plan, calibration="c")
        exact, off = (without + scale * (text - without) for without, text in said)
        by_hand = float((off - exact).square().sum() / exact.square().sum())
        found.append(meter.prediction((words,)).errors[name][words])
        assert found[-1] == pytest.approx(by_hand, rel=1e-3)
    assert found[1] > 1.1 * found[0], "guidance amplifies errors"


def test_measuring_leaves_the_model_as_it_was(meter: SensitivityMeter) -> None:
    before = meter.replay.predictions()
    done: list[tuple[int, int]] = []
    found = meter.prediction(("w2 channel",), on_layer=lambda i, n: done.append((i, n)))
    assert torch.equal(meter.replay.predictions(), before)
    assert done[-1] == (len(found.errors), len(found.errors))
    asked: list[None] = []

    def in_the_third_replay() -> bool:
        asked.append(None)
        return len(asked) > 2 * 3  # three steps a replay

    stopped = Replay(
        adm=meter.replay.adm, states=meter.replay.states, should_stop=in_the_third_replay
    )
    with pytest.raises(Cancelled):
        SensitivityMeter(
            replay=stopped,
            fitting=meter.fitting,
            stats=meter.stats,
            base=meter.base,
            calibration="c",
        ).prediction(("w2 channel",))
    assert torch.equal(meter.replay.predictions(), before)


def test_an_allocated_plan_can_be_applied(
    meter: SensitivityMeter, base: QuantPlan, tiny_adm: AudioLDM
) -> None:
    copied = copy.deepcopy(tiny_adm)
    layers = layers_of(copied)
    allocator = Allocator(base, layers, meter.output(("w3 channel", "w8 channel")))
    least, most = allocator.limits()
    found = allocator((least + most) // 2)
    bits = {s.scheme.weight.bits for s in found.plan.quantized if s.scheme.weight is not None}
    assert bits == {3, 8}
    quantize_(copied.parts(), found.plan)


def measured(replay: Replay, name: str, words: str, stats: CalibrationStats) -> float:
    """Relative squared error of what a quantized layer puts out, given what it is given."""
    adm = replay.adm
    parts, infos = adm.parts(), {info.name: info for info in layers_of(adm)}
    config = QuantConfig(name="one", rules=parse_rules(f"{name} = {words}\n* = keep"))
    (spec,) = resolve_plan(config, layers_of(adm)).quantized
    source = get_layer(parts, name)
    rough = quantize_layer(parts, spec, infos[name], Prepared(stats=stats, weights={}))
    seen: list[Tensor] = []
    with watching(parts, {name: seen.append}):
        replay({"denoiser"})
    bias = source.bias
    assert isinstance(bias, Tensor)
    constant = bias.reshape(-1, *(1,) * (seen[0].ndim - 2)) if seen[0].ndim > 3 else bias
    signal = noise = 0.0
    with torch.no_grad():
        for values in seen:
            exact = source(values)
            noise += float((exact - rough(values)).square().sum())
            signal += float((exact - constant).square().sum())
    return noise / signal


def meter_of(replay: Replay, name: str) -> SensitivityMeter:
    layers = layers_of(replay.adm)
    config = QuantConfig(name="one", rules=parse_rules(f"{name} = w8a8\n* = keep"))
    base = resolve_plan(config, layers)
    stats = observe_states(replay, Observation(sites=sites_to_watch(base, layers)))
    return SensitivityMeter(replay=replay, fitting=replay, stats=stats, base=base, calibration="c")


@pytest.mark.parametrize("loud_half", [0, 1])
def test_the_noise_of_activations_is_the_layers_own(
    tiny_adm: AudioLDM, replay: Replay, loud_half: int
) -> None:
    adm = copy.deepcopy(tiny_adm)
    info = next(i for i in layers_of(adm) if i.split is not None and i.name.endswith(".conv1"))
    block = adm.unet.get_submodule(info.name.removeprefix("denoiser.").removesuffix(".conv1"))
    loud = slice(0, info.split) if loud_half == 0 else slice(info.split, None)
    heavy = slice(info.split, None) if loud_half == 0 else slice(0, info.split)
    with torch.no_grad():  # one half is loud, and the other has the weight
        block.norm1.weight[loud] *= 4.0
        block.conv1.weight[:, heavy] *= 4.0
    here = Replay(adm=adm, states=replay.states)
    meter = meter_of(here, info.name)
    words = "w8 channel a6"
    closed = meter.output((words,)).errors[info.name][words]
    assert closed == pytest.approx(measured(here, info.name, words, meter.stats), rel=0.25)


def test_a_corrected_bias_takes_its_share_back(replay: Replay) -> None:
    name = next(i.name for i in layers_of(replay.adm) if i.name.endswith("to_out.0"))
    meter = meter_of(replay, name)
    plain, debiased = "w2 channel", "w2 channel debias"
    found = meter.output((plain, debiased)).errors[name]
    assert found[debiased] < 0.99 * found[plain]
    for words in (plain, debiased):
        assert found[words] == pytest.approx(measured(replay, name, words, meter.stats), rel=0.02)
    # Means of other states correct a bias too far, or not far enough.
    others = {key: replace(s, channel_mean=-3.0 * s.channel_mean) for key, s in meter.stats.items()}
    elsewhere = replace(meter, stats=others).output((debiased,)).errors[name]
    assert elsewhere[debiased] > found[plain]
    expected = measured(replay, name, debiased, others)
    assert elsewhere[debiased] == pytest.approx(expected, rel=0.02)


def test_layers_measured_apart_make_up_for_nobody(replay: Replay) -> None:
    name = "denoiser.mid_block.resnets.0.conv1"
    meter = meter_of(replay, name)
    apart, alone = "w3 channel brecq", "w3 channel gptq"
    for found in (meter.output((apart, alone)), meter.prediction((apart, alone))):
        assert found.errors[name][apart] == found.errors[name][alone]


def test_gradients_are_not_asked_of_branches_beside_quantized_activations(
    meter: SensitivityMeter,
) -> None:
    with pytest.raises(ConfigError, match="'w4 gptq r2 a8' has a low-rank branch"):
        meter.first_order(("w8 channel", "w4 gptq r2 a8"))
    assert all(
        row["w4 gptq r2"] > 0.0 for row in meter.first_order(("w4 gptq r2",)).errors.values()
    )


def test_gradients_foretell_what_one_layer_does_to_the_prediction(meter: SensitivityMeter) -> None:
    words = ("w8 channel", "w5 channel a8", "w8 channel a6 dynamic")
    before = meter.replay.predictions()
    exact, tangent = meter.prediction(words), meter.first_order(words, draws=60)
    ratios = [
        tangent.errors[name][scheme] / error
        for name, row in exact.errors.items()
        for scheme, error in row.items()
    ]
    assert tangent.measure == "first-order"
    # Random signs leave a tenth; no small error of any layer may be foretold wrongly for all that.
    assert np.median(ratios) == pytest.approx(1.0, abs=0.1)
    assert min(ratios) > 0.4
    assert max(ratios) < 2.0
    assert torch.equal(meter.replay.predictions(), before), "it works on a copy"
    assert not any(p.requires_grad for p in meter.replay.adm.parts()["denoiser"].parameters())
