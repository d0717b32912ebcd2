"""Layers that stand in for torch's own, one class for each kind, by registry."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from ptq.activation import ActivationQuantizer
from ptq.errors import LayerError
from ptq.layer_spec import LayerKind
from ptq.layers import layer_kind
from ptq.quantized_layer import EDGES, NO_CORRECTIONS, Corrections, QuantizedLayer
from ptq.weights import QuantizedWeight


class QuantLinear(QuantizedLayer):
    """Stands in for ``nn.Linear``."""

    kind = LayerKind.LINEAR
    geometry = ("in_features", "out_features")

    def _compute(self, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Map (…, in_features) to (…, out_features)."""
        return functional.linear(values, weight, bias)


class _QuantConv(QuantizedLayer):
    geometry = (
        *("in_channels", "out_channels", "kernel_size", "stride", "padding"),
        *("dilation", "groups", "padding_mode", EDGES),
    )
    convolve: ClassVar[Callable[..., Tensor]]

    def _compute(self, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Map (batch, in_channels, …) to (batch, out_channels, …)."""
        padding = getattr(self, "padding", 0)
        if self.padding_mode != "zeros":
            edges = getattr(self, EDGES)
            values, padding = functional.pad(values, edges, mode=str(self.padding_mode)), 0
        return type(self).convolve(
            values, weight, bias, self.stride, padding, self.dilation, self.groups
        )


class QuantConv1d(_QuantConv):
    """Stands in for ``nn.Conv1d``."""

    kind = LayerKind.CONV1D
    convolve = staticmethod(functional.conv1d)


class QuantConv2d(_QuantConv):
    """Stands in for ``nn.Conv2d``."""

    kind = LayerKind.CONV2D
    convolve = staticmethod(functional.conv2d)


class _QuantConvTranspose(QuantizedLayer):
    geometry = (
        *("in_channels", "out_channels", "kernel_size", "stride", "padding"),
        *("output_padding", "groups", "dilation"),
    )
    convolve: ClassVar[Callable[..., Tensor]]

    def _compute(self, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Map (batch, in_channels, …) to (batch, out_channels, …), longer by the stride."""
        return type(self).convolve(
            values,
            weight,
            bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )


class QuantConvTranspose1d(_QuantConvTranspose):
    """Stands in for ``nn.ConvTranspose1d``."""

    kind = LayerKind.CONV_TRANSPOSE1D
    convolve = staticmethod(functional.conv_transpose1d)


class QuantConvTranspose2d(_QuantConvTranspose):
    """Stands in for ``nn.ConvTranspose2d``."""

    kind = LayerKind.CONV_TRANSPOSE2D
    convolve = staticmethod(functional.conv_transpose2d)


class QuantEmbedding(QuantizedLayer):
    """Stands in for ``nn.Embedding``; dequantizes the rows that are looked up, never the table."""

    kind = LayerKind.EMBEDDING
    geometry = ("num_embeddings", "embedding_dim", "padding_idx")

    def forward(self, indices: Tensor) -> Tensor:
        """Map (…) of indices to (…, embedding_dim)."""
        table = self.quantized_weight
        if table is None:
            return functional.embedding(indices, self.weight)
        flat = indices.reshape(-1)
        shared = table.scale.shape[0] == 1
        rows = QuantizedWeight(
            codes=table.codes[flat],
            scale=table.scale if shared else table.scale[flat],
            zero_point=(
                table.zero_point if shared or table.zero_point is None else table.zero_point[flat]
            ),
            blocks=table.blocks,
        ).dequantize()
        return rows.to(self.get_buffer("_anchor").dtype).reshape(*indices.shape, rows.shape[1])


class QuantAttentionProbabilities(QuantizedLayer):
    """Stands in for ``AttentionProbabilities``."""

    kind = LayerKind.ATTENTION_PROBABILITIES

    def forward(self, values: Tensor) -> Tensor:
        """Return probabilities of the same shape, quantized."""
        return self._quantize_input(values)


QUANTIZED_TYPES: Mapping[LayerKind, type[QuantizedLayer]] = {
    layer.kind: layer
    for layer in (
        QuantLinear,
        QuantConv1d,
        QuantConv2d,
        QuantConvTranspose1d,
        QuantConvTranspose2d,
        QuantEmbedding,
        QuantAttentionProbabilities,
    )
}


def quantized_layer(
    source: nn.Module,
    *,
    weight: QuantizedWeight | None,
    input_quantizer: ActivationQuantizer | None,
    corrections: Corrections = NO_CORRECTIONS,
) -> QuantizedLayer:
    """Return the layer that stands in for ``source``.

    Raises:
        LayerError: for a module that is no quantizable layer.
    """
    kind = layer_kind(source)
    if kind is None:
        raise LayerError(
            f"a {type(source).__name__} cannot be quantized; quantize a freshly loaded model."
        )
    return QUANTIZED_TYPES[kind](
        source, weight=weight, input_quantizer=input_quantizer, corrections=corrections
    )
