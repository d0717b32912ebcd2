"""One quantizable site of a model, and what happens to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import gcd, prod
from typing import Any

from ptq.errors import ConfigError
from ptq.json_values import integer
from ptq.scheme import FLOAT_BITS, Balance, Granularity, LayerScheme, WeightScheme
from ptq.spelling import check_keys

# The one part that runs once a timestep.
DENOISER = "denoiser"
SCALE_BITS = 16


class LayerKind(StrEnum):
    """What a quantizable site is."""

    LINEAR = "linear"
    CONV1D = "conv1d"
    CONV2D = "conv2d"
    CONV_TRANSPOSE1D = "conv_transpose1d"
    CONV_TRANSPOSE2D = "conv_transpose2d"
    EMBEDDING = "embedding"
    ATTENTION_PROBABILITIES = "attention_probabilities"

    @property
    def has_weight(self) -> bool:
        """Whether the site has a weight to quantize."""
        return self is not LayerKind.ATTENTION_PROBABILITIES

    @property
    def has_input(self) -> bool:
        """Whether the site has a floating-point input to quantize."""
        return self is not LayerKind.EMBEDDING


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """One quantizable site of a model.

    Attributes:
        name: ``part.layer``, the dotted path within the part.
        kind: what it is.
        weight_shape: shape of the weight as torch stores it; empty without a weight.
        row: weights that make one output value, the flattened input of an output channel.
        parameters: weights, the bias not counted.
        bias_parameters: values of the bias.
        split: input channel at which the hidden half of a concatenated input ends, if it has one.
        idle: whether generation never runs it, so that only its weights can be quantized.
        grouped: whether it is a convolution whose outputs see a part of the input channels each.
        weight_float_bits: what a weight takes that is kept, 32 where 16 would not hold it exactly.
        bias_float_bits: what a value of the bias takes, likewise.
    """

    name: str
    kind: LayerKind
    weight_shape: tuple[int, ...] = ()
    row: int = 0
    parameters: int = 0
    bias_parameters: int = 0
    split: int | None = None
    idle: bool = False
    grouped: bool = False
    weight_float_bits: int = FLOAT_BITS
    bias_float_bits: int = FLOAT_BITS

    @property
    def part(self) -> str:
        """The part of the pipeline that the layer belongs to."""
        return self.name.partition(".")[0]

    @property
    def has_moment(self) -> bool:
        """Whether generation shows what a whole row of its weight is multiplied with."""
        multiplies = self.kind in (LayerKind.LINEAR, LayerKind.CONV1D, LayerKind.CONV2D)
        return multiplies and not self.idle and not self.grouped

    @property
    def columns(self) -> tuple[int, ...]:
        """Widths of the pieces of a row: two where the input is split, else one."""
        if self.split is None:
            return (self.row,)
        hidden = self.split * prod(self.weight_shape[2:])
        return (hidden, self.row - hidden)


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """What happens to one layer; group sizes are numbers here.

    Attributes:
        name: ``part.layer``.
        scheme: its quantization; both halves ``None`` keep the layer.
        split: as in ``LayerInfo``.
    """

    name: str
    scheme: LayerScheme
    split: int | None = None

    @property
    def part(self) -> str:
        """The part of the pipeline that it belongs to."""
        return self.name.partition(".")[0]

    def weight_bits_stored(self, info: LayerInfo) -> int:
        """Return the bits that weights, scales and zero points take in a packed file."""
        weight = self.scheme.weight
        if weight is None:
            return info.parameters * info.weight_float_bits
        per_scale = SCALE_BITS + (0 if weight.symmetric else weight.bits)
        codes = info.parameters * weight.bits + prod(scale_shape(weight, info)) * per_scale
        return codes + _float_values(weight, info) * FLOAT_BITS

    def bytes_stored(self, info: LayerInfo) -> int:
        """Return the bytes of the whole layer: as packed, and floats for all that is kept."""
        bias = info.bias_parameters * info.bias_float_bits // 8
        return -(-self.weight_bits_stored(info) // 8) + bias

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON values."""
        return {"name": self.name, "scheme": self.scheme.to_json(), "split": self.split}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "LayerSpec":
        """Read what ``to_json`` wrote.

        Raises:
            UnknownKeyError: for a key that is not an attribute.
        """
        check_keys(data, ("name", "scheme", "split"), owner="a layer of a plan")
        if "name" not in data or "scheme" not in data:
            raise ConfigError(f"the layer {dict(data)!r} needs both a name and a scheme.")
        return cls(
            name=str(data["name"]),
            scheme=LayerScheme.from_json(data["scheme"]),
            split=None if data.get("split") is None else integer(data, "split"),
        )


def _float_values(weight: WeightScheme, info: LayerInfo) -> int:
    """Values that are stored beside codes and scales: a branch, and the channels' balance."""
    rank = branch_rank(weight, info)
    branch = rank * (info.row + info.parameters // info.row)
    return branch + (0 if weight.balance is Balance.NONE else info.weight_shape[1])


def branch_rank(weight: WeightScheme, info: LayerInfo) -> int:
    """Rank of the branch beside a weight: no more than the weight has."""
    return min(weight.rank, info.row, info.parameters // info.row) if weight.rank else 0


def group_basis(info: LayerInfo) -> int:
    """Return the number that a group size has to divide: the row, or what its halves share."""
    return gcd(*info.columns)


def block_widths(weight: WeightScheme, info: LayerInfo) -> tuple[int, ...]:
    """Return how many columns of a weight row each column of scales serves."""
    if weight.granularity is Granularity.PER_TENSOR:
        return info.columns
    width = weight.group_size or info.row
    return (width,) * (info.row // width)


def scale_shape(weight: WeightScheme, info: LayerInfo) -> tuple[int, int]:
    """Return the shape of the scales of a weight: rows of weights, or 1, and blocks of columns."""
    rows = 1 if weight.granularity is Granularity.PER_TENSOR else info.parameters // info.row
    return rows, len(block_widths(weight, info))
