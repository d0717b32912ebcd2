"""How one layer is quantized: values without behaviour, and without torch.

A layer has a weight scheme, an activation scheme, both or neither; neither means *keep*. Sixteen
bits also mean keep: ``parse_rules`` and ``resolve_plan`` turn them into ``None``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from ptq.errors import ConfigError
from ptq.json_values import boolean, field_names, integer, member
from ptq.spelling import check_keys

FLOAT_BITS = 16  # of a value that stays in floating point
GROUP_SIZES = (128, 64, 32, 16)
WEIGHT_BITS = (2, 3, 4, 5, 6, 7, 8)
ACTIVATION_BITS = (4, 5, 6, 7, 8, FLOAT_BITS)
DEFAULT_PERCENTILE = 99.99
# The buckets of all layers have a common division, each with a histogram: more takes gigabytes.
MAX_TIMESTEP_BUCKETS = 100
MAX_RANK = 256


class Granularity(StrEnum):
    """How many weights share one scale."""

    PER_TENSOR = "per_tensor"
    PER_CHANNEL = "per_channel"
    PER_GROUP = "per_group"


class RangeSearch(StrEnum):
    """How the clipping range of a tensor is found."""

    MIN_MAX = "min_max"
    PERCENTILE = "percentile"
    MSE = "mse"
    HQQ = "hqq"


class Rounding(StrEnum):
    """How a weight finds its code.

    ``NEAREST`` looks at the weight alone, the others at what calibration saw the layer be given.
    """

    NEAREST = "nearest"
    GPTQ = "gptq"
    ADAROUND = "adaround"
    BRECQ = "brecq"

    @property
    def needs_data(self) -> bool:
        """Whether codes depend on calibration."""
        return self is not Rounding.NEAREST


class Balance(StrEnum):
    """How the ranges of a layer's input channels are evened out before anything is rounded.

    Inputs are divided by one factor a channel, and the weight's columns multiplied by it. The
    factor follows the channel's largest value over the trajectory, or a mean of those of its
    parts in which the parts count more whose loud channels are not the weight's.
    """

    NONE = "none"
    SMOOTH = "smooth"
    SMOOTH_TIME = "smooth-time"


class ActivationMode(StrEnum):
    """Where an activation range comes from.

    ``STATIC`` ranges come from calibration; ``DYNAMIC`` ones from the tensor itself, one range per
    token in a linear layer and one per sample in a convolution.
    """

    STATIC = "static"
    DYNAMIC = "dynamic"


@dataclass(frozen=True, kw_only=True)
class WeightScheme:
    """How the weight of one layer is quantized.

    Attributes:
        bits: 2 to 8.
        granularity: what shares one scale.
        group_size: weights along a flattened row (Cin·kh·kw) that share a scale; ``None`` with
            ``PER_GROUP`` asks for the largest of 128, 64, 32, 16 that divides the row.
        symmetric: levels −(2^(b−1)−1) … 2^(b−1)−1 without a zero point, else 0 … 2^b−1 with one.
        range_search: ``MIN_MAX``, ``MSE`` or ``HQQ``.
        rounding: how each weight finds its code within the range.
        balance: how input channels are evened out first.
        rank: of a branch in floating point that takes the largest singular values away.
        debias: whether the bias makes up for the mean error of the outputs.
    """

    bits: int
    granularity: Granularity = Granularity.PER_CHANNEL
    group_size: int | None = None
    symmetric: bool = True
    range_search: RangeSearch = RangeSearch.MIN_MAX
    rounding: Rounding = Rounding.NEAREST
    balance: Balance = Balance.NONE
    rank: int = 0
    debias: bool = False

    def __post_init__(self) -> None:
        if self.bits not in WEIGHT_BITS:
            raise ConfigError(
                f"weights cannot have {self.bits} bits; use 2 to 8, or 16 to keep them as they are."
            )
        if self.group_size is not None and self.granularity is not Granularity.PER_GROUP:
            raise ConfigError(
                f"group size {self.group_size} needs granularity per_group,"
                f" not {self.granularity}; drop one of the two."
            )
        if self.group_size is not None and self.group_size < 1:
            raise ConfigError(f"group size {self.group_size} is not positive; use 16 to 128.")
        if not 0 <= self.rank <= MAX_RANK:
            raise ConfigError(f"a branch cannot have rank {self.rank}; use 1 to {MAX_RANK}.")
        if self.range_search is RangeSearch.PERCENTILE:
            raise ConfigError("percentile ranges are for activations; use min_max, mse or hqq.")

    @property
    def sees_inputs(self) -> bool:
        """Whether anything but the weight itself decides what is stored."""
        return self.rounding.needs_data or self.balance is not Balance.NONE or self.debias

    @classmethod
    def default(cls, bits: int) -> "WeightScheme":
        """Return the usual scheme: up to 5 bits in asymmetric groups, above it per channel."""
        if bits <= 5:
            return cls(bits=bits, granularity=Granularity.PER_GROUP, symmetric=False)
        return cls(bits=bits)

    def to_json(self) -> dict[str, Any]:
        """Return the scheme as JSON values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "WeightScheme":
        """Read what ``to_json`` wrote.

        Raises:
            UnknownKeyError: for a key that is not an attribute.
            ConfigError: for a value that does not exist.
        """
        check_keys(data, field_names(cls), owner="a weight scheme")
        return cls(
            bits=integer(data, "bits"),
            granularity=member(Granularity, data.get("granularity", Granularity.PER_CHANNEL)),
            group_size=None if data.get("group_size") is None else integer(data, "group_size"),
            symmetric=boolean(data, "symmetric", default=True),
            range_search=member(RangeSearch, data.get("range_search", RangeSearch.MIN_MAX)),
            rounding=member(Rounding, data.get("rounding", Rounding.NEAREST)),
            balance=member(Balance, data.get("balance", Balance.NONE)),
            rank=integer(data, "rank", default=0),
            debias=boolean(data, "debias", default=False),
        )


@dataclass(frozen=True, kw_only=True)
class ActivationScheme:
    """How the input of one layer is quantized: always affine, one range per tensor.

    Attributes:
        bits: 4 to 8; 16 keeps activations in floating point.
        mode: static or dynamic.
        range_search: how a static range is found; dynamic ranges are min-max.
        percentile: the percentage kept by ``PERCENTILE`` at each end.
        timestep_buckets: equal parts of the trajectory, each with its own static range.
        unsigned: zero point 0, for attention probabilities.
    """

    bits: int
    mode: ActivationMode = ActivationMode.STATIC
    range_search: RangeSearch = RangeSearch.MIN_MAX
    percentile: float = DEFAULT_PERCENTILE
    timestep_buckets: int = 1
    unsigned: bool = False

    def __post_init__(self) -> None:
        if self.bits not in ACTIVATION_BITS:
            raise ConfigError(
                f"activations cannot have {self.bits} bits; use 4 to 8, or 16 to keep them."
            )
        if not 1 <= self.timestep_buckets <= MAX_TIMESTEP_BUCKETS:
            most = MAX_TIMESTEP_BUCKETS
            raise ConfigError(
                f"{self.timestep_buckets} timestep buckets cannot be; use 1 to {most}."
            )
        if not 90.0 <= self.percentile <= 100.0:
            raise ConfigError(f"percentile {self.percentile:g} is out of range; use 90 to 100.")
        self._check_combination()

    def _check_combination(self) -> None:
        if self.range_search is RangeSearch.HQQ:
            raise ConfigError("hqq ranges are for weights; use min_max, percentile or mse.")
        if (
            self.range_search is not RangeSearch.PERCENTILE
            and self.percentile != DEFAULT_PERCENTILE
        ):
            raise ConfigError(
                f"percentile {self.percentile} needs range search percentile,"
                f" not {self.range_search}; drop one of the two."
            )
        static_only = self.timestep_buckets > 1 or self.range_search is not RangeSearch.MIN_MAX
        if self.mode is ActivationMode.DYNAMIC and static_only:
            raise ConfigError(
                "dynamic activations take their range from each tensor;"
                " timestep buckets, percentile and mse need static ones."
            )

    @property
    def quantizes(self) -> bool:
        """Whether activations become codes at all."""
        return self.bits < FLOAT_BITS

    @property
    def is_static(self) -> bool:
        """Whether calibration has to find their ranges."""
        return self.quantizes and self.mode is ActivationMode.STATIC

    def to_json(self) -> dict[str, Any]:
        """Return the scheme as JSON values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ActivationScheme":
        """Read what ``to_json`` wrote.

        Raises:
            UnknownKeyError: for a key that is not an attribute.
            ConfigError: for a value that does not exist.
        """
        check_keys(data, field_names(cls), owner="an activation scheme")
        return cls(
            bits=integer(data, "bits"),
            mode=member(ActivationMode, data.get("mode", ActivationMode.STATIC)),
            range_search=member(RangeSearch, data.get("range_search", RangeSearch.MIN_MAX)),
            percentile=float(data.get("percentile", DEFAULT_PERCENTILE)),
            timestep_buckets=integer(data, "timestep_buckets", default=1),
            unsigned=boolean(data, "unsigned", default=False),
        )


@dataclass(frozen=True, kw_only=True)
class LayerScheme:
    """What happens to one layer; ``LayerScheme()`` keeps it as it is."""

    weight: WeightScheme | None = None
    activation: ActivationScheme | None = None

    @property
    def keeps(self) -> bool:
        """Whether the layer stays in floating point."""
        return self.weight is None and self.activation is None

    @property
    def weight_bits(self) -> int:
        """Nominal bits of a weight; 16 in floating point."""
        return FLOAT_BITS if self.weight is None else self.weight.bits

    @property
    def activation_bits(self) -> int:
        """Bits of an input value; 16 in floating point."""
        return FLOAT_BITS if self.activation is None else self.activation.bits

    def to_json(self) -> dict[str, Any]:
        """Return the scheme as JSON values, ``None`` for a half that is kept."""
        return {
            "weight": self.weight.to_json() if self.weight else None,
            "activation": self.activation.to_json() if self.activation else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "LayerScheme":
        """Read what ``to_json`` wrote.

        Raises:
            UnknownKeyError: for a key other than weight and activation.
        """
        check_keys(data, field_names(cls), owner="a layer scheme")
        weight, activation = data.get("weight"), data.get("activation")
        return cls(
            weight=WeightScheme.from_json(weight) if weight else None,
            activation=ActivationScheme.from_json(activation) if activation else None,
        )


KEEP = LayerScheme()


def resolve_group_size(row: int) -> int | None:
    """Return the largest of 128, 64, 32, 16 that divides ``row``, else ``None`` (per channel)."""
    return next((size for size in GROUP_SIZES if row % size == 0), None)
