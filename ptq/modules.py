"""Layers with quantized weights, quantized inputs or both; one class for each kind, by registry.

Codes and scales are buffers. The strategy is simulated execution: ``weight`` is dequantized once
and kept beside the codes, and the layer computes as its original does.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ptq.activation import ActivationQuantizer, ExactBuffersModule
from ptq.errors import LayerError
from ptq.layer_spec import LayerKind
from ptq.layers import layer_kind
from ptq.weights import QuantizedWeight, from_rows

_EDGES = "_reversed_padding_repeated_twice"  # what nn.Conv2d hands to pad for reflected edges


class QuantizedLayer(ExactBuffersModule):
    """What all quantized layers share: the weight and its dequantized copy, the bias, the input.

    Args:
        source: the layer to stand in for; its bias, and its weight where it is kept, are shared.
        weight: codes and scales, ``None`` to keep the weight.
        input_quantizer: ``None`` to keep the activations.
    """

    kind: ClassVar[LayerKind]
    geometry: ClassVar[tuple[str, ...]] = ()
    exact_buffers = ("scale",)
    bias: nn.Parameter | None

    def __init__(
        self,
        source: nn.Module,
        *,
        weight: QuantizedWeight | None,
        input_quantizer: ActivationQuantizer | None,
    ) -> None:
        super().__init__()
        for name in self.geometry:
            setattr(self, name, getattr(source, name))
        self.input_quantizer = input_quantizer
        self._dense: Tensor | None = None
        self._blocks: tuple[int, ...] = ()
        self.register_load_state_dict_post_hook(_forget_dense)  # type: ignore[no-untyped-call]
        self.train(source.training)
        if self.kind.has_weight:
            self._set_weight_(source, weight)

    def _set_weight_(self, source: nn.Module, weight: QuantizedWeight | None) -> None:
        original = source.weight
        if not isinstance(original, Tensor):
            raise LayerError(f"{type(source).__name__} has no weight tensor; load it first.")
        self._shape = tuple(original.shape)
        self.register_parameter("bias", getattr(source, "bias", None))
        # Follows .to(dtype) and so remembers the dtype that the dequantized weight has to have.
        anchor = torch.empty(0, dtype=original.dtype, device=original.device)
        self.register_buffer("_anchor", anchor, persistent=False)
        if weight is None:
            self.register_parameter("kept_weight", nn.Parameter(original.detach(), False))
            return
        self._blocks = weight.blocks
        self.register_buffer("codes", weight.codes)
        self.register_buffer("scale", weight.scale)
        self.register_buffer("zero_point", weight.zero_point)

    @property
    def quantized_weight(self) -> QuantizedWeight | None:
        """The codes and scales as a value; ``None`` where the weight is kept."""
        if not self._blocks:
            return None
        return QuantizedWeight(
            codes=self.get_buffer("codes"),
            scale=self.get_buffer("scale"),
            zero_point=self._buffers["zero_point"],
            blocks=self._blocks,
        )

    @property
    def weight(self) -> Tensor:
        """The weight that the codes stand for, shaped and typed as the original one."""
        if self._dense is None:
            quantized = self.quantized_weight
            if quantized is None:
                return self.get_parameter("kept_weight")
            with torch.inference_mode(mode=False), torch.no_grad():
                groups = getattr(self, "groups", 1)
                dense = from_rows(quantized.dequantize(), self._shape, self.kind, groups)
                self._dense = dense.to(self.get_buffer("_anchor").dtype)
        return self._dense

    def extra_repr(self) -> str:
        """Return what ``print(model)`` shows."""
        return ", ".join(
            f"{name}={getattr(self, name)}" for name in self.geometry if name != _EDGES
        )

    def _quantize_input(self, values: Tensor) -> Tensor:
        return values if self.input_quantizer is None else self.input_quantizer(values)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._dense = None
        return super()._apply(fn, recurse)


def _forget_dense(module: nn.Module, _: object) -> None:
    """Make a layer dequantize again, because new codes were loaded."""
    if isinstance(module, QuantizedLayer):
        module._dense = None


class QuantLinear(QuantizedLayer):
    """Stands in for ``nn.Linear``."""

    kind = LayerKind.LINEAR
    geometry = ("in_features", "out_features")

    def forward(self, values: Tensor) -> Tensor:
        """Map (…, in_features) to (…, out_features)."""
        return functional.linear(self._quantize_input(values), self.weight, self.bias)


class _QuantConv(QuantizedLayer):
    geometry = (
        *("in_channels", "out_channels", "kernel_size", "stride", "padding"),
        *("dilation", "groups", "padding_mode", _EDGES),
    )
    convolve: ClassVar[Callable[..., Tensor]]

    def forward(self, values: Tensor) -> Tensor:
        """Map (batch, in_channels, …) to (batch, out_channels, …)."""
        values, padding = self._quantize_input(values), getattr(self, "padding", 0)
        if self.padding_mode != "zeros":
            edges = getattr(self, _EDGES)
            values, padding = functional.pad(values, edges, mode=str(self.padding_mode)), 0
        return type(self).convolve(
            values, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
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

    def forward(self, values: Tensor) -> Tensor:
        """Map (batch, in_channels, …) to (batch, out_channels, …), longer by the stride."""
        return type(self).convolve(
            self._quantize_input(values),
            self.weight,
            self.bias,
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


def channel_axis(kind: LayerKind) -> int:
    """Return where the input channels of a layer are: 1 in convolutions, else last."""
    return -1 if kind in (LayerKind.LINEAR, LayerKind.ATTENTION_PROBABILITIES) else 1


def quantized_layer(
    source: nn.Module,
    *,
    weight: QuantizedWeight | None,
    input_quantizer: ActivationQuantizer | None,
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
    return QUANTIZED_TYPES[kind](source, weight=weight, input_quantizer=input_quantizer)
