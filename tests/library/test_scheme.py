"""What a scheme may say, and that it survives JSON."""

import json
import subprocess
import sys
from typing import Any

import pytest

from ptq.errors import ConfigError, UnknownKeyError
from ptq.scheme import (
    ActivationMode,
    ActivationScheme,
    Granularity,
    LayerScheme,
    RangeSearch,
    WeightScheme,
    resolve_group_size,
)

SCHEMES = [
    LayerScheme(),
    LayerScheme(weight=WeightScheme.default(8)),
    LayerScheme(
        weight=WeightScheme(
            bits=3,
            granularity=Granularity.PER_GROUP,
            group_size=64,
            symmetric=False,
            range_search=RangeSearch.MSE,
        ),
        activation=ActivationScheme(
            bits=8, range_search=RangeSearch.PERCENTILE, percentile=99.9, timestep_buckets=10
        ),
    ),
    LayerScheme(activation=ActivationScheme(bits=4, mode=ActivationMode.DYNAMIC, unsigned=True)),
]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_json_round_trip(scheme: LayerScheme) -> None:
    assert LayerScheme.from_json(json.loads(json.dumps(scheme.to_json()))) == scheme


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(UnknownKeyError, match=r"'bit'.*'bits'"):
        WeightScheme.from_json({"bit": 4})
    with pytest.raises(UnknownKeyError, match="'activation'"):
        LayerScheme.from_json({"activations": None})


def test_unknown_value_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'per_group'"):
        WeightScheme.from_json({"bits": 4, "granularity": "per_grop"})


@pytest.mark.parametrize("bits", [0, 1, 9, 16])
def test_weight_bits_that_do_not_exist(bits: int) -> None:
    with pytest.raises(ConfigError, match=str(bits)):
        WeightScheme(bits=bits)


@pytest.mark.parametrize("bits", [0, 3, 9, 32])
def test_activation_bits_that_do_not_exist(bits: int) -> None:
    with pytest.raises(ConfigError, match=str(bits)):
        ActivationScheme(bits=bits)


def test_contradictions_are_refused() -> None:
    with pytest.raises(ConfigError, match="group size 64"):
        WeightScheme(bits=4, group_size=64)
    with pytest.raises(ConfigError, match="percentile"):
        WeightScheme(bits=4, range_search=RangeSearch.PERCENTILE)
    with pytest.raises(ConfigError, match="dynamic"):
        ActivationScheme(bits=8, mode=ActivationMode.DYNAMIC, timestep_buckets=2)
    with pytest.raises(ConfigError, match="percentile 99"):
        ActivationScheme(bits=8, percentile=99.0)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"percentile": 120.0}, "percentile 120 is out of range; use 90 to 100"),
        ({"percentile": 60.0}, "percentile 60 is out of range; use 90 to 100"),
        ({"timestep_buckets": 101}, "101 timestep buckets cannot be; use 1 to 100"),
    ],
)
def test_bounds_of_activation_ranges_are_named(bounds: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ActivationScheme(bits=8, range_search=RangeSearch.PERCENTILE, **bounds)


@pytest.mark.parametrize(
    ("row", "size"), [(2560, 128), (320, 64), (96, 32), (48, 16), (72, None), (27, None)]
)
def test_auto_group_is_the_largest_that_divides(row: int, size: int | None) -> None:
    assert resolve_group_size(row) == size


def test_vocabulary_imports_no_torch() -> None:
    code = (
        "import sys, ptq.scheme, ptq.config, ptq.plan, ptq.presets, ptq.context;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
