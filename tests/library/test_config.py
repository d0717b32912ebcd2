"""Rules as text and as JSON."""

import pytest

from ptq.config import QuantConfig, QuantRule, format_rules, parse_rules
from ptq.errors import ConfigError, UnknownKeyError
from ptq.presets import PRESETS, preset
from ptq.scheme import KEEP, ActivationMode, Granularity, RangeSearch

TEXT = """
# sensitive ends
denoiser.*conv_in = keep
denoiser.*attn*   = w4a8
denoiser.*.ff.*   = w4 g64 mse a8 dynamic   # heavy tails
denoiser.*probs   = a8 mse t10 unsigned
vae.*             = w8 optional
*                 = keep
"""


def test_words_mean_what_the_grammar_says() -> None:
    conv_in, attention, feed_forward, probabilities, vae, rest = parse_rules(TEXT)
    assert conv_in == QuantRule(pattern="denoiser.*conv_in", scheme=KEEP)
    assert attention.scheme.weight is not None
    assert attention.scheme.weight.granularity is Granularity.PER_GROUP
    assert not attention.scheme.weight.symmetric
    assert feed_forward.scheme.weight is not None
    assert feed_forward.scheme.weight.group_size == 64
    assert feed_forward.scheme.weight.range_search is RangeSearch.MSE
    assert feed_forward.scheme.activation is not None
    assert feed_forward.scheme.activation.mode is ActivationMode.DYNAMIC
    assert feed_forward.scheme.activation.range_search is RangeSearch.MIN_MAX
    assert probabilities.scheme.weight is None
    assert probabilities.scheme.activation is not None
    assert probabilities.scheme.activation.timestep_buckets == 10
    assert probabilities.speaks_of_probabilities
    assert vae.optional
    assert not rest.optional


def test_range_words_belong_to_the_bits_before_them() -> None:
    (both,) = parse_rules("x = w4a8 mse")
    assert both.scheme.weight is not None
    assert both.scheme.activation is not None
    assert both.scheme.weight.range_search is RangeSearch.MSE
    assert both.scheme.activation.range_search is RangeSearch.MIN_MAX
    (second,) = parse_rules("x = w4 a8 mse")
    assert second.scheme.activation is not None
    assert second.scheme.activation.range_search is RangeSearch.MSE


def test_sixteen_bits_mean_keep() -> None:
    (rule,) = parse_rules("x = w16a16")
    assert rule.scheme == KEEP


@pytest.mark.parametrize(
    "words",
    [
        "w4a8",
        "w4a8 dynamic",
        "w8 group asym mse",
        "w5 tensor sym a4 p99.9 t4",
        "w4 g32 a8 mse",
        "a8 unsigned",
        "w4 channel",
        "keep",
    ],
)
def test_format_is_read_back(words: str) -> None:
    rules = parse_rules(f"denoiser.* = {words}\nvae.{{last}}.* = {words} optional")
    assert parse_rules(format_rules(rules)) == rules


def test_formatting_uses_the_words_of_the_user() -> None:
    assert format_rules(parse_rules("a  =  w4 a8")) == "a = w4a8\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x = w4 dinamic", r"line 2: 'dinamic'.*'dynamic'"),
        ("x = w9", "line 2: .*9 bits"),
        ("x w4", "line 2: .*no '='"),
        ("x = w4 g64 g32", "line 2: 'g32'.*second time"),
        ("x = keep w4", "line 2: .*keep"),
        ("x = mse", "line 2: .*bits"),
        ("x = a16 dynamic", "line 2: .*activation bits"),
        (" = w4", "line 2: .*pattern"),
        ("x = w4a8 unsigned", "line 2: .*no weights; write one rule with a8 unsigned"),
    ],
)
def test_errors_name_line_and_way_out(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_rules(f"denoiser.* = w8\n{line}")


def test_configuration_round_trip() -> None:
    config = QuantConfig(name="mine", rules=parse_rules(TEXT), seed=7)
    assert QuantConfig.from_json(config.to_json()) == config


def test_configuration_refuses_what_it_does_not_know() -> None:
    with pytest.raises(UnknownKeyError, match=r"'rulez'.*'rules'"):
        QuantConfig.from_json('{"schema": 1, "name": "x", "rulez": []}')
    with pytest.raises(ConfigError, match="schema 2"):
        QuantConfig.from_json('{"schema": 2}')
    with pytest.raises(ConfigError, match="not JSON"):
        QuantConfig.from_json("{")


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_survive_both_forms(name: str) -> None:
    config = preset(name)
    assert parse_rules(format_rules(config.rules)) == config.rules
    assert QuantConfig.from_json(config.to_json()) == config
    assert all(rule.optional for rule in config.rules)


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'ptq4adm'"):
        preset("ptq4amd")
