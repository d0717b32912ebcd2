"""Bits under a budget: exactly what trying everything finds, and never more than the budget."""

import itertools
import re
from itertools import pairwise

import numpy as np
import pytest

from ptq.allocate import Allocator
from ptq.config import QuantConfig, parse_rules
from ptq.errors import ConfigError
from ptq.layer_spec import LayerInfo, LayerKind
from ptq.plan import resolve_plan
from ptq.sensitivities import Sensitivities

WORDS = ("w3 g64", "w4 g64", "w8 channel")


def layer(name: str, out: int, row: int = 128) -> LayerInfo:
    return LayerInfo(
        name=name,
        kind=LayerKind.LINEAR,
        weight_shape=(out, row),
        row=row,
        parameters=out * row,
    )


LAYERS = [layer(f"denoiser.l{i}", 32 * (i + 1)) for i in range(8)]
ENDS = [layer("denoiser.conv_in", 64), layer("vae.conv", 64)]


def table(names: list[str], seed: int = 0) -> Sensitivities:
    rng = np.random.default_rng(seed)
    errors = {
        name: dict(zip(WORDS, np.sort(rng.exponential(1e-3, 3))[::-1].tolist(), strict=True))
        for name in names
    }
    return Sensitivities(model_hash="m", measure="output", calibration="c", errors=errors)


@pytest.fixture
def allocator() -> Allocator:
    config = QuantConfig(name="x", rules=parse_rules("vae.* = w8\n* = keep"))
    base = resolve_plan(config, [*LAYERS, *ENDS])
    return Allocator(base, [*LAYERS, *ENDS], table([info.name for info in LAYERS]))


def test_it_finds_what_trying_everything_finds(allocator: Allocator) -> None:
    errors = table([info.name for info in LAYERS]).errors
    least, most = allocator.limits()
    budget = least + (most - least) // 3
    found = allocator(budget)
    sizes = {
        words: [spec.bytes_stored(info) for spec, info in zip(plan, LAYERS, strict=True)]
        for words in WORDS
        for plan in [
            resolve_plan(QuantConfig(name="x", rules=parse_rules(f"* = {words}")), LAYERS).layers
        ]
    }
    fixed = found.size_bytes - sum(
        spec.bytes_stored(info)
        for spec, info in zip(found.plan.layers[: len(LAYERS)], LAYERS, strict=True)
    )
    best = min(
        sum(errors[info.name][w] for info, w in zip(LAYERS, words, strict=True))
        for words in itertools.product(WORDS, repeat=len(LAYERS))
        if fixed + sum(sizes[w][i] for i, w in enumerate(words)) <= budget
    )
    assert found.error == pytest.approx(best, rel=1e-6)
    assert found.size_bytes <= budget


def test_a_larger_budget_never_minds_more(allocator: Allocator) -> None:
    for budget in np.linspace(*allocator.limits(), 40):
        assert allocator(int(budget)).size_bytes <= int(budget)
    front = allocator.front(10)
    assert all(a.size_bytes < b.size_bytes and a.error > b.error for a, b in pairwise(front))
    least, most = allocator.limits()
    assert (front[0].size_bytes, front[-1].size_bytes) == (least, most)
    with pytest.raises(ConfigError, match="ask for") as refusal:
        allocator(least - 1)
    offered = re.findall(r"ask for ([\d.]+) MB", str(refusal.value))
    assert allocator(round(float(offered[0]) * 1e6)).size_bytes >= least
    with pytest.raises(ConfigError, match="ask for") as refusal:
        allocator.with_mean_bits(0.1)
    offered = re.findall(r"ask for ([\d.]+) or more", str(refusal.value))
    assert allocator.with_mean_bits(float(offered[0])).size_bytes >= least


def test_layers_that_were_not_measured_stay(allocator: Allocator) -> None:
    specs = {spec.name: spec for spec in allocator(allocator.limits()[0]).plan.layers}
    assert specs["denoiser.conv_in"].scheme.keeps
    weight = specs["vae.conv"].scheme.weight
    assert weight is not None
    assert weight.bits == 8


def test_a_plan_can_be_written_as_rules_and_resolved_again(allocator: Allocator) -> None:
    found = allocator(sum(allocator.limits()) // 2)
    again = resolve_plan(found.config(), [*LAYERS, *ENDS])
    assert again.sha256 == found.plan.sha256


def test_projections_of_one_attention_share_their_bits() -> None:
    names = [f"denoiser.attn1.to_{x}" for x in "qkv"]
    layers = [layer(name, 64) for name in names]
    base = resolve_plan(QuantConfig(name="x", rules=parse_rules("* = keep")), layers)
    allocator = Allocator(base, layers, table(names, seed=3))
    for budget in np.linspace(*allocator.limits(), 7):
        specs = allocator(int(budget)).plan.layers
        assert len({spec.scheme for spec in specs}) == 1


def test_a_table_is_read_back_and_damage_is_named() -> None:
    found = table(["denoiser.a"])
    assert Sensitivities.from_json(found.to_json()) == found
    for text in ("{", "[]", "{}", '{"schema": 1}'):
        with pytest.raises(ConfigError, match=r"damaged .*; measure them again"):
            Sensitivities.from_json(text)
    with pytest.raises(ConfigError, match="schema 2, this version reads 1"):
        Sensitivities.from_json(found.to_json().replace('"schema": 1', '"schema": 2'))
    text = found.to_json().replace('"w4 g64": ', '"w4 g64": "x", "w5": ')
    with pytest.raises(ConfigError, match="damaged"):
        Sensitivities.from_json(text)
    nothing: list[dict[str, dict[str, float]]] = [{}, {"denoiser.a": {}}]
    for errors in nothing:
        with pytest.raises(ConfigError, match="no layer was measured"):
            Sensitivities(model_hash="", measure="", calibration="", errors=errors)
    with pytest.raises(ConfigError, match=r"is -1\.0; leave that scheme out"):
        Sensitivities(model_hash="", measure="", calibration="", errors={"a": {"w4": -1.0}})


def test_a_table_of_another_model_is_refused() -> None:
    base = resolve_plan(QuantConfig(name="x", rules=parse_rules("* = keep")), LAYERS)
    with pytest.raises(ConfigError, match=r"denoiser\.other.*measure them for this model"):
        Allocator(base, LAYERS, table(["denoiser.other"]))


@pytest.mark.parametrize("bits", [4.0, 5.0, 6.25])
def test_a_budget_of_bits_is_kept_and_used(allocator: Allocator, bits: float) -> None:
    layers = [*LAYERS, *ENDS]
    found = allocator.with_mean_bits(bits)
    mean = found.plan.weight_bits_mean(layers, "denoiser")
    assert mean <= bits
    better = allocator.with_mean_bits(bits + 0.5)
    assert better.error <= found.error
    assert mean > bits - 1.0


def test_too_few_bits_are_refused(allocator: Allocator) -> None:
    with pytest.raises(ConfigError, match="no plan has 2 bits a weight of the denoiser; ask"):
        allocator.with_mean_bits(2)


def test_dynamic_ranges_go_where_they_take_something_off() -> None:
    static, dynamic = "w4 g64 a8", "w4 g64 a8 dynamic"
    # A tenth less of the loudest is worth it, nine tenths less of a quiet one are not.
    errors = {
        LAYERS[0].name: (1.0, 0.9),
        LAYERS[1].name: (0.005, 0.0005),
        LAYERS[2].name: (0.5, 0.6),
    }
    rows = {name: dict(zip((static, dynamic), row, strict=True)) for name, row in errors.items()}
    found = Sensitivities(model_hash="m", measure="output", calibration="c", errors=rows)
    base = resolve_plan(QuantConfig(name="x", rules=parse_rules("* = keep")), LAYERS)
    allocator = Allocator(base, LAYERS, found)
    allocation = allocator(allocator.limits()[1])
    ranges = {
        spec.name: spec.scheme.activation.is_static
        for spec in allocation.plan.quantized
        if spec.scheme.activation is not None
    }
    assert ranges == dict(zip(errors, (False, True, True), strict=True))
    assert allocation.error == pytest.approx(0.9 + 0.005 + 0.5), "the price is no error"
