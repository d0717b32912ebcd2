"""Calibration: disjoint prompts, evenly spread states, hooks that leave nothing behind."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import layers_of
from ptq.adms.sampling import SamplingSettings
from ptq.calibration.calibrator import common_buckets
from ptq.calibration.manifest import CalibrationManifest
from ptq.calibration.observe import Observation, observe_states, observing
from ptq.calibration.prompt_choice import PromptChoice, calibration_prompts
from ptq.calibration.replay import Replay, watching
from ptq.calibration.signatures import Signatures
from ptq.calibration.states import StatePool, StateRecorder, StateSet
from ptq.calibration.strategies import Candidates, UniformStrategy, strategy
from ptq.context import current_step
from ptq.errors import CalibrationError, Cancelled, ConfigError, ModelError
from ptq.layer_spec import LayerInfo
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.suites import Suite, draw_suite, suite_of
from tests.calibrations import drawn

STEPS = 4
MANIFEST = CalibrationManifest(
    strategy="uniform",
    model_hash="a" * 64,
    sampler="AudioLDM",
    steps=20,
    guidance=2.5,
    seconds=5.12,
    seed=1,
    buckets=10,
    prompts=("a dog barks", "rain"),
    states=40,
)


@pytest.fixture(scope="module")
def pool(tiny_adm: AudioLDM) -> StatePool:
    settings = SamplingSettings(steps=STEPS, guidance=2.5, seconds=0.64)
    return StateRecorder(adm=tiny_adm, settings=settings, seed=1, batch_size=2).record(
        ("a dog barks", "rain falls", "a bell rings")
    )


@pytest.fixture(scope="module")
def sites(tiny_adm: AudioLDM) -> tuple[LayerInfo, ...]:
    found = layers_of(tiny_adm)
    return tuple(info for info in found if info.part == "denoiser" and info.kind.has_input)


def unmeasured(pool: StatePool) -> Candidates:
    def refuse(_: NDArray[np.int64]) -> Signatures:
        pytest.fail("this strategy looks at no activations")

    return Candidates(pool=pool, measure=refuse)


def n_hooks(adm: AudioLDM) -> int:
    modules = (module for part in adm.parts().values() for module in part.modules())
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


def test_suites_share_no_content() -> None:
    contents = {}
    for suite in Suite:
        prompts = draw_suite(suite, 60, seed=3)
        assert len(prompts) == 60
        assert {suite_of(prompt) for prompt in prompts} == {suite}
        contents[suite] = {p.scene.content_hash() for p in prompts if p.scene is not None}
    assert len(set().union(*contents.values())) == sum(map(len, contents.values()))


def test_a_suite_is_drawn_again_the_same_and_refuses_nonsense() -> None:
    texts = [p.text for p in draw_suite(Suite.FINAL, 8, seed=5)]
    assert texts == [p.text for p in draw_suite(Suite.FINAL, 8, seed=5)]
    assert texts != [p.text for p in draw_suite(Suite.FINAL, 8, seed=6)]
    for count, seed in ((0, 0), (-1, 0), (4, -1)):
        with pytest.raises(ConfigError, match="ask for 1 or more"):
            draw_suite(Suite.FINAL, count, seed)


def test_prompts_that_are_not_chosen_need_no_embedding(
    tiny_adm: AudioLDM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ModelError("no embedding")

    monkeypatch.setattr("ptq.calibration.prompt_choice.embed_prompts", refuse)
    given = replace(drawn(prompts=1), texts=("rain falls",))
    for wanted, count in ((drawn(prompts=3), 3), (given, 2)):
        found = calibration_prompts(tiny_adm, wanted)
        assert (len(found.texts), found.coverage) == (count, {})
    with pytest.raises(ModelError, match="no embedding"):
        calibration_prompts(tiny_adm, replace(drawn(), covering=True))


def test_calibration_prompts_are_of_the_calibration_suite_alone(tiny_adm: AudioLDM) -> None:
    everything = default_lexicon().all_voiced()
    owned = tuple(p.text for p in draw_suite(Suite.CALIBRATION, 6, seed=2, lexicon=everything))
    wanted = replace(drawn(prompts=6), seed=2)
    found = calibration_prompts(tiny_adm, wanted)
    assert (found.texts, found.rounds) == (owned, ())
    covering = calibration_prompts(tiny_adm, replace(wanted, covering=True))
    assert len(set(covering.texts)) == 7
    assert covering.texts[-1] == ""  # what guidance asks every model about
    assert covering.coverage["cells"] > found.coverage["cells"]
    space = PromptChoice(tiny_adm, 2, everything).space
    assert found.coverage["near"] == round(space.coverage(owned).near, 4)
    assert covering.rounds[-1]["near"] >= covering.rounds[0]["near"]
    assert len(covering.rounds) > 1


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose one of uniform"):
        strategy("best")


@pytest.mark.parametrize("count", [4, 6, 8, 12, 99])
def test_uniform_states_are_spread_over_steps_and_never_repeat(pool: StatePool, count: int) -> None:
    chosen = UniformStrategy().states(unmeasured(pool), count, 0)
    assert chosen.shape == (min(count, 3 * STEPS), 2)
    assert len({(int(p), int(s)) for p, s in chosen}) == len(chosen)
    per_step = Counter(int(step) for step in chosen[:, 1])
    assert max(per_step.values()) - min(per_step.get(s, 0) for s in range(STEPS)) <= 1
    assert (chosen >= 0).all()
    assert (chosen.max(axis=0) < [3, STEPS]).all()
    assert (UniformStrategy().states(unmeasured(pool), count, 0) == chosen).all()


def test_recorded_states_are_what_the_denoiser_was_given(
    tiny_adm: AudioLDM, pool: StatePool
) -> None:
    given: list[torch.Tensor] = []
    handle = tiny_adm.unet.register_forward_pre_hook(lambda _m, args: given.append(args[0][:2]))
    recorder = StateRecorder(adm=tiny_adm, settings=pool.settings, seed=1, batch_size=2)
    again = recorder.record(pool.prompts[:2])
    handle.remove()
    assert pool.inputs.shape == (3, STEPS, 8, 16, 16)
    assert torch.equal(torch.stack(given, dim=1), again.inputs)
    assert torch.equal(again.inputs, pool.inputs[:2])
    assert pool.steps == tuple(range(STEPS))


def test_long_trajectories_are_thinned_evenly(tiny_adm: AudioLDM, pool: StatePool) -> None:
    recorder = StateRecorder(
        adm=tiny_adm, settings=pool.settings, seed=1, batch_size=2, most_steps=2
    )
    thinned = recorder.record(pool.prompts)
    assert thinned.steps == (0, STEPS - 1)
    assert torch.equal(thinned.inputs, pool.inputs[:, [0, STEPS - 1]])
    assert torch.equal(thinned.finals, pool.finals)
    states = StateSet.of(thinned, np.array([[2, 1], [0, 0]]))
    assert states.steps.tolist() == [STEPS - 1, 0]
    assert torch.equal(states.inputs[0], pool.inputs[2, STEPS - 1])


def test_every_site_is_observed_in_both_branches_at_every_step(
    tiny_adm: AudioLDM, pool: StatePool, sites: tuple[LayerInfo, ...]
) -> None:
    seen: list[tuple[int, tuple[str, ...]]] = []

    def note(_module: nn.Module, _inputs: object) -> None:
        context = current_step()
        assert context is not None
        seen.append((context.step, context.branch))

    handle = tiny_adm.unet.register_forward_pre_hook(note)
    chosen = UniformStrategy().states(unmeasured(pool), 6, 0)
    replay = Replay(adm=tiny_adm, states=StateSet.of(pool, chosen))
    stats = observe_states(replay, Observation(sites=sites, buckets=2))
    handle.remove()
    assert set(stats) == {site.name for site in sites}
    assert [step for step, _ in seen] == list(range(STEPS))
    for step, branches in seen:
        rows = int((chosen[:, 1] == step).sum())
        assert branches == ("uncond",) * rows + ("cond",) * rows
    assert {found.buckets for found in stats.values()} == {2}
    split = {site.name: site.split is not None for site in sites}
    assert all(found.halves == 1 + split[name] for name, found in stats.items())
    assert n_hooks(tiny_adm) == 0


def test_hooks_are_gone_after_an_exception(
    tiny_adm: AudioLDM, sites: tuple[LayerInfo, ...]
) -> None:
    def interrupted() -> None:
        with observing(tiny_adm.parts(), Observation(sites=sites, buckets=2)):
            assert n_hooks(tiny_adm) == len(sites)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert n_hooks(tiny_adm) == 0


def test_hooks_are_gone_when_a_site_does_not_exist(
    tiny_adm: AudioLDM, sites: tuple[LayerInfo, ...]
) -> None:
    wrong = (*sites[:2], replace(sites[0], name="denoiser.nowhere"))
    wanted = Observation(sites=wrong, buckets=1)
    with pytest.raises(ValueError, match="nowhere"), observing(tiny_adm.parts(), wanted):
        pass
    assert n_hooks(tiny_adm) == 0


def test_observation_stops_at_the_next_step(
    tiny_adm: AudioLDM, pool: StatePool, sites: tuple[LayerInfo, ...]
) -> None:
    done: list[int] = []
    chosen = np.array([[0, step] for step in range(STEPS)])
    replay = Replay(
        adm=tiny_adm,
        states=StateSet.of(pool, chosen),
        progress=lambda i, _: done.append(i),
        should_stop=lambda: len(done) == 2,
    )
    with pytest.raises(Cancelled, match="step 3 of 4"):
        observe_states(replay, Observation(sites=sites, buckets=1))
    assert n_hooks(tiny_adm) == 0


def test_states_are_written_and_read_back(pool: StatePool) -> None:
    states = StateSet.of(pool, np.array([[2, 1], [0, 3]]))
    assert torch.equal(states.inputs[0], pool.inputs[2, 1])
    again = StateSet.from_tensors(states.to_tensors(), states.prompts, states.settings)
    assert len(again) == 2
    for name, tensor in states.to_tensors().items():
        assert torch.equal(again.to_tensors()[name], tensor), name
    with pytest.raises(KeyError, match="steps"):
        StateSet.from_tensors(
            {"inputs": states.inputs, "rows": states.rows}, states.prompts, states.settings
        )


def test_recording_stops_too(tiny_adm: AudioLDM, pool: StatePool) -> None:
    recorder = StateRecorder(adm=tiny_adm, settings=pool.settings, seed=1, should_stop=lambda: True)
    with pytest.raises(Cancelled, match="step 1 of 4"):
        recorder.record(pool.prompts)


def test_a_manifest_is_read_back_and_damage_is_named() -> None:
    assert CalibrationManifest.from_json(MANIFEST.to_json()) == MANIFEST
    for text in ("{", "[]", "{}", '{"prompts": []}'):
        with pytest.raises(CalibrationError, match=r"damaged .*; calibrate again"):
            CalibrationManifest.from_json(text)
    newer = MANIFEST.to_json().replace('"schema": 1', '"schema": 2')
    with pytest.raises(CalibrationError, match="schema 2, this version reads 1"):
        CalibrationManifest.from_json(newer)


def test_a_manifest_notices_what_is_sampled_differently() -> None:
    assert MANIFEST.mismatches("AudioLDM", MANIFEST.sampling) == ()
    other = replace(MANIFEST.sampling, steps=50, guidance=1.0, seconds=2.56)
    assert [line.split(":")[0] for line in MANIFEST.mismatches("Tango", other)] == [
        "Calibrated with sampler AudioLDM, sampled with Tango",
        "Calibrated with steps 20, sampled with 50",
        "Calibrated with guidance 2.5, sampled with 1.0",
        "Calibrated with seconds 5.12, sampled with 2.56",
    ]
    assert MANIFEST.sha256 != replace(MANIFEST, steps=50).sha256
    described = replace(MANIFEST, random_site_coverage={"denoiser.conv_in": 0.5})
    assert described.sha256 == MANIFEST.sha256, "what random sets reach identifies nothing"
    assert CalibrationManifest.from_json(described.to_json()) == described
    MANIFEST.check_model("a" * 64)
    with pytest.raises(CalibrationError, match="not to bbbbbbbbbbbb; calibrate this model"):
        MANIFEST.check_model("b" * 64)


def test_buckets_fit_the_plan_and_the_memory() -> None:
    assert common_buckets([]) == 10
    assert common_buckets([4, 10]) == 20
    assert common_buckets([99]) == 99, "990 would take gigabytes of histograms"


def test_only_calls_of_the_own_thread_are_watched() -> None:
    parts = {"denoiser": nn.Sequential(nn.Linear(2, 2))}
    seen: list[torch.Tensor] = []
    with watching(parts, {"denoiser.0": seen.append}), ThreadPoolExecutor(1) as other:
        other.submit(parts["denoiser"], torch.ones(1, 2)).result()
        assert not seen
        parts["denoiser"](torch.zeros(1, 2))
    assert [tensor.sum().item() for tensor in seen] == [0.0]
