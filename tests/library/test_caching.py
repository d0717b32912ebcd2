"""Cached projections: the same up to float32 rounding, computed once, and gone afterwards."""

import copy
from collections import Counter

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import layers_of
from ptq.adms.caching import cached_projections
from ptq.adms.sampling import SamplingSettings
from ptq.calibration.calibrator import Calibrator
from ptq.config import QuantConfig, parse_rules
from ptq.context import StepContext, step_context
from ptq.generation import GenerationRequest, Generator
from ptq.layers import inventory
from ptq.plan import resolve_plan
from ptq.quantize import quantize_
from tests.calibrations import drawn

STEPS = 3
SETTINGS = SamplingSettings(steps=STEPS, guidance=2.5, seconds=0.64)
REQUEST = GenerationRequest(
    prompts=("a dog barks", "rain falls", "a bell rings"), seed=5, settings=SETTINGS
)
TIME_LAYERS = ".time_emb_proj"


def latents(adm: AudioLDM, *, cached: bool) -> Tensor:
    clips = Generator(adm=adm, batch_size=2, cached=cached)(REQUEST)
    return torch.stack([torch.from_numpy(clip.latents[-1]) for clip in clips])


def quantized(adm: AudioLDM, rules: str) -> AudioLDM:
    config = QuantConfig(name="test", rules=parse_rules(rules))
    plan = resolve_plan(config, layers_of(adm))
    calibrator = Calibrator(adm=adm, sampling=SETTINGS, wanted=drawn(prompts=1, states=2))
    other = copy.deepcopy(adm)
    quantize_(other.parts(), plan, calibrator(plan).stats)
    return other


def test_clips_are_the_same_up_to_rounding(tiny_adm: AudioLDM) -> None:
    plain, cached = latents(tiny_adm, cached=False), latents(tiny_adm, cached=True)
    assert torch.allclose(plain, cached, atol=1e-4)
    assert torch.equal(latents(tiny_adm, cached=False), plain), "nothing is left behind"


@pytest.mark.parametrize("words", ["w8a8", "w8 a8 t3", "w4", "w8a8 dynamic"])
def test_quantized_projections_are_cached_as_exactly(tiny_adm: AudioLDM, words: str) -> None:
    other = quantized(tiny_adm, f"denoiser.*time_emb_proj = {words}\n* = keep")
    plain, cached = latents(other, cached=False), latents(other, cached=True)
    assert torch.allclose(plain, cached, atol=1e-4)
    if "dynamic" in words:
        assert torch.equal(plain, cached), "tokens with ranges of their own do not add up"


def test_each_row_is_computed_once(tiny_adm: AudioLDM) -> None:
    layers = sum(info.name.endswith(TIME_LAYERS) for info in inventory(tiny_adm.parts()))
    clips = Generator(adm=tiny_adm, batch_size=2)
    with tiny_adm.caching() as cache:
        list(clips(REQUEST))
    # A row a step of the time, a row for each prompt and branch, and the bias.
    samples = 2 * len(REQUEST.prompts)
    assert cache.computed == layers * (STEPS + samples + 1)
    calls = STEPS * 2
    assert cache.found == layers * (2 * calls + STEPS * samples) - cache.computed


def test_the_model_is_as_it_was(tiny_adm: AudioLDM) -> None:
    with pytest.raises(ZeroDivisionError), tiny_adm.caching():
        raise ZeroDivisionError
    modules = [m for part in tiny_adm.parts().values() for m in part.modules()]
    assert not [m for m in modules if "forward" in m.__dict__]


def test_outside_of_sampling_nothing_is_cached(tiny_adm: AudioLDM) -> None:
    layer = next(
        module
        for name, module in tiny_adm.unet.named_modules()
        if name.endswith(TIME_LAYERS[1:]) and isinstance(module, nn.Linear)
    )
    values = torch.randn(2, layer.in_features, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), tiny_adm.caching() as cache:
        assert torch.equal(layer(values), nn.functional.linear(values, layer.weight, layer.bias))
    assert cache.computed == 0


def rows_computed(monkeypatch: pytest.MonkeyPatch, model: nn.Module) -> Counter[str]:
    """Counts the rows that each layer computes from now on."""
    names = {id(m.weight): name for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    rows: Counter[str] = Counter()
    exact = nn.functional.linear

    def linear(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        rows[names[id(weight)]] += len(values)
        return exact(values, weight, bias)

    monkeypatch.setattr(nn.functional, "linear", linear)
    return rows


def test_keys_and_values_of_a_text_are_computed_once_a_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(16, 16),
        layers_per_block=1,
        cross_attention_dim=12,
        attention_head_dim=4,
        norm_num_groups=4,
    ).eval()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, 8, 8, generator=generator)
    text = torch.randn(2, 5, 12, generator=generator)

    def run(steps: int) -> list[Tensor]:
        found = []
        for step in range(steps):
            context = StepContext(
                step=step, n_steps=steps, t=0.0, branch=("cond",) * 2, sample_ids=(0, 1)
            )
            with torch.no_grad(), step_context(context):
                found.append(unet(x, 900 - 100 * step, text).sample)
        return found

    plain = run(3)
    rows = rows_computed(monkeypatch, unet)
    with cached_projections({"denoiser": unet}, text=True) as cache:
        again = run(3)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(plain, again, strict=True))
    texts = [count for name, count in rows.items() if name.endswith(("attn2.to_k", "attn2.to_v"))]
    times = [count for name, count in rows.items() if name.endswith(TIME_LAYERS)]
    assert set(texts) == {2}, "one row a prompt"
    assert set(times) == {3}, "one row a step"
    assert cache.computed == sum(texts) + sum(times)
