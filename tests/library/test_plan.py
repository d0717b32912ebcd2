"""Rules meet layers: order, errors, sizes."""

import fnmatch
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest

from ptq.config import QuantConfig, parse_rules
from ptq.errors import CheckpointError, ConfigError, UnknownKeyError, UnusedRuleError
from ptq.plan import LayerInfo, LayerKind, QuantPlan, fp_size_bytes, read_plan, resolve_plan
from ptq.presets import preset
from ptq.resolve import expand_last
from ptq.scheme import Granularity, WeightScheme


def layer(name: str, *shape: int, bias: int = 0, split: int | None = None) -> LayerInfo:
    kind = LayerKind.CONV2D if len(shape) == 4 else LayerKind.LINEAR
    return LayerInfo(
        name=name,
        kind=kind,
        weight_shape=shape,
        row=prod(shape[1:]),
        parameters=prod(shape),
        bias_parameters=bias,
        split=split,
    )


INVENTORY = (
    layer("denoiser.conv_in", 64, 8, 3, 3, bias=64),
    layer("denoiser.down_blocks.0.resnets.0.conv1", 64, 64, 3, 3, bias=64),
    layer("denoiser.mid_block.attn1.to_q", 320, 320),
    LayerInfo(name="denoiser.mid_block.attn1.probs", kind=LayerKind.ATTENTION_PROBABILITIES),
    layer("denoiser.up_blocks.2.resnets.10.conv1", 64, 128, 3, 3, split=64),
    layer("denoiser.up_blocks.2.resnets.9.conv1", 64, 128, 3, 3, split=64),
    LayerInfo(
        name="text_encoder.tokens",
        kind=LayerKind.EMBEDDING,
        weight_shape=(100, 32),
        row=32,
        parameters=3200,
    ),
)


def plan_of(text: str) -> QuantPlan:
    return resolve_plan(QuantConfig(name="test", rules=parse_rules(text)), INVENTORY)


def weight_of(plan: QuantPlan, name: str) -> WeightScheme | None:
    return next(spec.scheme.weight for spec in plan.layers if spec.name == name)


def test_first_match_wins_and_the_rest_is_kept() -> None:
    plan = plan_of("denoiser.mid_block.* = w4a8\ndenoiser.* = w8")
    first = weight_of(plan, "denoiser.mid_block.attn1.to_q")
    second = weight_of(plan, "denoiser.conv_in")
    assert first is not None
    assert second is not None
    assert (first.bits, second.bits) == (4, 8)
    assert weight_of(plan, "text_encoder.tokens") is None


def test_auto_groups_become_numbers() -> None:
    plan = plan_of("* = w4")
    sizes = {spec.name: spec.scheme.weight.group_size for spec in plan.layers if spec.scheme.weight}
    assert sizes["denoiser.mid_block.attn1.to_q"] == 64
    assert sizes["denoiser.conv_in"] is None
    conv_in = weight_of(plan, "denoiser.conv_in")
    assert conv_in is not None
    assert conv_in.granularity is Granularity.PER_CHANNEL


def test_groups_never_straddle_a_split() -> None:
    uneven = layer("denoiser.up.conv_shortcut", 8, 160, 1, 1, split=96)
    plan = resolve_plan(QuantConfig(name="x", rules=parse_rules("* = w4")), (uneven,))
    weight = plan.layers[0].scheme.weight
    assert weight is not None
    assert weight.group_size == 32


@pytest.mark.parametrize("pattern", ["denoiser.*atn*", "unet.*"])
def test_a_mistyped_rule_raises(pattern: str) -> None:
    with pytest.raises(UnusedRuleError, match="matches no layer; the nearest layers are denoiser"):
        plan_of(f"{pattern} = w4\n* = keep")


def test_the_nearest_layer_is_named() -> None:
    with pytest.raises(UnusedRuleError, match=r"nearest layers are denoiser\.mid_block\.attn1"):
        plan_of("denoiser.*atn1* = w4")


def test_a_shadowed_rule_raises_unless_optional() -> None:
    with pytest.raises(UnusedRuleError, match=r"never reached.*move it up"):
        plan_of("denoiser.* = w8\ndenoiser.*attn* = w4")
    plan_of("denoiser.* = w8\ndenoiser.*attn* = w4 optional\nvocoder.* = w8 optional")


def test_explicit_group_that_does_not_divide() -> None:
    with pytest.raises(ConfigError, match=r"'\* = w4 g128'.*denoiser\.conv_in.*g72"):
        plan_of("* = w4 g128")


def test_last_stands_for_the_highest_number() -> None:
    plan = plan_of("denoiser.up_blocks.{last}.resnets.{last}.* = w8")
    assert [spec.name for spec in plan.quantized] == ["denoiser.up_blocks.2.resnets.10.conv1"]


def test_attention_probabilities_need_an_unsigned_rule() -> None:
    name = "denoiser.mid_block.attn1.probs"
    assert name not in {spec.name for spec in plan_of("denoiser.* = w4a8").quantized}
    plan = plan_of("denoiser.*probs = a8 unsigned\n* = w4a8")
    (spec,) = [spec for spec in plan.layers if spec.name == name]
    assert spec.scheme.weight is None
    assert spec.scheme.activation is not None
    with pytest.raises(UnusedRuleError):
        plan_of("denoiser.*to_q = a8 unsigned")


def test_embeddings_have_weights_only() -> None:
    (spec,) = plan_of("text_encoder.* = w8a8").quantized
    assert spec.scheme.activation is None


def test_json_round_trip_and_hash() -> None:
    plan = plan_of("denoiser.*attn* = w4a8\n* = w8")
    again = QuantPlan.from_json(plan.to_json())
    assert again == plan
    assert again.sha256 == plan.sha256
    assert hash(again) == hash(plan)
    assert replace(plan, name="other").sha256 == plan.sha256
    assert plan_of("denoiser.*attn* = w5a8\n* = w8").sha256 != plan.sha256


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(UnknownKeyError, match=r"'layer'.*'layers'"):
        QuantPlan.from_json('{"schema": 1, "name": "x", "layer": []}')
    with pytest.raises(ConfigError, match="schema"):
        QuantPlan.from_json('{"schema": 99}')


@pytest.mark.parametrize(
    "content",
    [
        '"layers": [1]',
        '"layers": {}',
        '"seed": "x"',
        '"layers": [{"name": "a", "scheme": {"activation": {"bits": 8, "percentile": "x"}}}]',
        '"layers": [{"name": "a", "scheme": {}, "split": "x"}]',
    ],
)
def test_a_damaged_plan_is_refused_with_one_sentence(content: str, tmp_path: Path) -> None:
    text = f'{{"schema": 1, {content}}}'
    with pytest.raises(ConfigError, match=r"[.]$"):
        QuantPlan.from_json(text)
    (tmp_path / "plan.json").write_text(text, encoding="utf-8")
    for path in (tmp_path / "plan.json", tmp_path / "none.json"):
        with pytest.raises(CheckpointError, match=f"the plan {path.name} cannot be read"):
            read_plan(path)


def test_sizes_by_arithmetic() -> None:
    inventory = (layer("denoiser.a", 64, 128, bias=64), layer("vae.b", 32, 64, bias=32))
    rules = parse_rules("denoiser.* = w4 g64\nvae.* = w8")
    plan = resolve_plan(QuantConfig(name="x", rules=rules), inventory)
    grouped = 64 * 128 * 4 // 8 + 64 * 2 * (16 + 4) // 8 + 64 * 2
    channels = 32 * 64 + 32 * 2 + 32 * 2
    assert plan.size_bytes(inventory) == grouped + channels
    assert plan.size_bytes(inventory, "vae") == channels
    assert plan.weight_bits_mean(inventory) == pytest.approx((8192 * 4 + 2048 * 8) / 10240)
    assert plan.weight_bits_mean(inventory, "denoiser") == 4.0
    assert fp_size_bytes(inventory) == (8192 + 64 + 2048 + 32) * 4


def test_per_tensor_split_has_a_scale_for_each_half() -> None:
    inventory = (layer("denoiser.a", 8, 16, split=4),)
    plan = resolve_plan(QuantConfig(name="x", rules=parse_rules("* = w8 tensor")), inventory)
    assert plan.size_bytes(inventory) == 8 * 16 + 2 * 2


def test_sizes_refuse_another_model() -> None:
    with pytest.raises(ConfigError, match=r"denoiser\.conv_in"):
        plan_of("* = w8").size_bytes(INVENTORY[1:])


def test_selective_preset_follows_its_tiers() -> None:
    kept = ("conv_in", "conv_out", "time_embedding.linear_1", "class_embedding")
    expected = {
        "down_blocks.0.resnets.0.conv1": 8,
        "down_blocks.0.downsamplers.0.conv": 8,
        "down_blocks.1.resnets.0.conv1": 4,
        "down_blocks.1.resnets.0.time_emb_proj": 4,
        "down_blocks.1.resnets.0.conv_shortcut": 8,
        "mid_block.attentions.0.proj_in": 8,
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_q": 8,
        "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj": 4,
        "mid_block.attentions.0.transformer_blocks.0.ff.net.2": 8,
        "up_blocks.2.upsamplers.0.conv": 4,
        "up_blocks.2.resnets.10.conv1": 8,
        "up_blocks.2.resnets.9.conv1": 4,
    }
    layers = tuple(layer(f"denoiser.{name}", 64, 64) for name in (*kept, *expected))
    plan = resolve_plan(preset("ptq4adm"), layers)
    weights = ((spec.name, spec.scheme.weight) for spec in plan.layers)
    bits = {name.removeprefix("denoiser."): weight.bits for name, weight in weights if weight}
    assert bits == expected
    assert all(spec.scheme.activation is not None for spec in plan.quantized)


def test_presets_get_smaller_with_their_bits() -> None:
    names = ("fp", "w8a8", "w6a8", "w4a8", "w3a8")
    sizes = [resolve_plan(preset(name), INVENTORY).size_bytes(INVENTORY) for name in names]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
    assert not resolve_plan(preset("fp"), INVENTORY).quantized


def test_buckets_without_a_small_common_division_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"t89, t97 have no common division of 100 or fewer"):
        plan_of("denoiser.conv_in = w8 a8 t89\ndenoiser.* = w8 a8 t97")


def test_only_the_denoiser_has_timestep_buckets() -> None:
    plan = plan_of("* = w8 a8 t10")
    for spec in plan.layers:
        if spec.scheme.activation is not None:
            expected = 10 if spec.name.startswith("denoiser.") else 1
            assert spec.scheme.activation.timestep_buckets == expected


def test_what_generation_never_runs_has_weights_only() -> None:
    idle = LayerInfo(
        name="vae.encoder.conv", kind=LayerKind.LINEAR, weight_shape=(4, 8), row=8, idle=True
    )
    plan = resolve_plan(QuantConfig(name="x", rules=parse_rules("* = w8 a8")), (idle,))
    assert plan.layers[0].scheme.weight is not None
    assert plan.layers[0].scheme.activation is None


def test_the_last_of_a_kind_is_found_whatever_ends_an_expression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``fnmatch.translate`` ends it in ``\\z`` from Python 3.14 on."""
    names = ["up.2.conv", "up.10.conv", "down.3.conv"]
    assert expand_last("up.{last}.*", names) == "up.10.*"
    translated = fnmatch.translate
    monkeypatch.setattr(
        "ptq.resolve.translate", lambda head: translated(head).removesuffix(r"\Z") + r"\z"
    )
    assert expand_last("up.{last}.*", names) == "up.10.*"
