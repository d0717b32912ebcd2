"""What the layer grid shows; free of Gradio, so that view-models can build it."""

from typing import NotRequired, TypedDict

FLOAT_BITS = 32
"""The width that stands for "kept in float"."""


class LayerRow(TypedDict):
    """One layer.

    Attributes:
        name: Its full name.
        kind: Its type, such as ``Conv2d``.
        weight_bits: Present width of its weights; 32 for float.
        activation_bits: Present width of its input; 32 for float.
        bytes: Size of its weights at these bits.
        sensitivity: How much its error hurts, 0 and up; the column shows only if a row has one.
    """

    name: str
    kind: str
    weight_bits: int
    activation_bits: int
    bytes: int
    sensitivity: NotRequired[float]


class GridOptions(TypedDict):
    """The widths on offer."""

    weight_bits: list[int]
    activation_bits: list[int]


class GridValue(TypedDict):
    """What the grid shows."""

    rows: list[LayerRow]
    options: GridOptions
