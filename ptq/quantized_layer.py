"""What all layers with quantized weights, quantized inputs or both have in common.

Codes and scales are buffers. The strategy is simulated execution: ``weight`` is dequantized once
and kept beside the codes, and the layer computes as its original does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from ptq.activation import ActivationQuantizer, ExactBuffersModule
from ptq.affine import along
from ptq.errors import LayerError
from ptq.layer_spec import LayerKind
from ptq.weights import QuantizedWeight, from_rows, to_rows

# What nn.Conv2d hands to pad for reflected edges.
EDGES = "_reversed_padding_repeated_twice"


@dataclass(frozen=True, kw_only=True, eq=False)
class Corrections:
    """What a layer has beside codes and scales.

    Attributes:
        balance: what input channels are divided by, (channels,), exact in float16.
        branch: float16 factors (rows, rank) and (rank, columns) whose product is added to what
            the codes stand for; it sees the inputs before they are quantized.
        bias: instead of the layer's own.
    """

    balance: Tensor | None = None
    branch: tuple[Tensor, Tensor] | None = None
    bias: Tensor | None = None


NO_CORRECTIONS = Corrections()
# What a layer keeps of them in float16, by name.
CORRECTION_BUFFERS = ("balance", "branch_out", "branch_in")


class QuantizedLayer(ExactBuffersModule):
    """What all quantized layers share: the weight and its dequantized copy, the bias, the input.

    Args:
        source: the layer to stand in for; its bias, and its weight where it is kept, are shared.
        weight: codes and scales, ``None`` to keep the weight.
        input_quantizer: ``None`` to keep the activations.
        corrections: what comes with the codes; only for linear layers and plain convolutions.
    """

    kind: ClassVar[LayerKind]
    geometry: ClassVar[tuple[str, ...]] = ()
    exact_buffers = ("scale", *CORRECTION_BUFFERS)
    bias: nn.Parameter | None

    def __init__(
        self,
        source: nn.Module,
        *,
        weight: QuantizedWeight | None,
        input_quantizer: ActivationQuantizer | None,
        corrections: Corrections = NO_CORRECTIONS,
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
        self._set_corrections_(corrections)

    def _set_corrections_(self, corrections: Corrections) -> None:
        balance, branch = corrections.balance, corrections.branch
        self.register_buffer("balance", None if balance is None else balance.half())
        self.register_buffer("branch_out", None if branch is None else branch[0])
        self.register_buffer("branch_in", None if branch is None else branch[1])
        if corrections.bias is not None:
            self.register_parameter("bias", nn.Parameter(corrections.bias, requires_grad=False))

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

    @property
    def effective_weight(self) -> Tensor:
        """The weight that the whole layer stands for: codes, branch and balance together."""
        rows = to_rows(self.weight.detach(), self.kind, getattr(self, "groups", 1)).float()
        balance, branch = self._buffers["balance"], self.branch
        if branch is not None:
            rows = rows + branch[0].float() @ branch[1].float()
        if balance is not None:
            rows = rows / balance.float().repeat_interleave(rows.shape[1] // len(balance))
        return from_rows(rows, self._shape, self.kind, getattr(self, "groups", 1))

    @property
    def branch(self) -> tuple[Tensor, Tensor] | None:
        """The float16 factors (rows, rank) and (rank, columns), if there are any."""
        out, into = self._buffers["branch_out"], self._buffers["branch_in"]
        return None if out is None or into is None else (out, into)

    def extra_repr(self) -> str:
        """Return what ``print(model)`` shows."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.geometry if name != EDGES)

    def _compute(self, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute as the original layer does, with another weight."""
        raise NotImplementedError

    def forward(self, values: Tensor) -> Tensor:
        """Map inputs to outputs as the original layer does."""
        balance, branch = self._buffers["balance"], self.branch
        if balance is not None:
            axis = channel_axis(self.kind)
            values = values / along(balance.to(values.dtype), values, axis)
        output = self._compute(self._quantize_input(values), self.weight, self.bias)
        if branch is None:
            return output
        out, into = (factor.to(values.dtype) for factor in branch)
        inner = self._compute(values, into.reshape(len(into), *self._shape[1:]), None)
        axis = channel_axis(self.kind) % inner.ndim
        added: Tensor = torch.tensordot(inner, out, dims=([axis], [1])).movedim(-1, axis)
        return output + added

    def _quantize_input(self, values: Tensor) -> Tensor:
        return values if self.input_quantizer is None else self.input_quantizer(values)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._dense = None
        return super()._apply(fn, recurse)


def _forget_dense(module: nn.Module, _: object) -> None:
    """Make a layer dequantize again, because new codes were loaded."""
    if isinstance(module, QuantizedLayer):
        module._dense = None


def channel_axis(kind: LayerKind) -> int:
    """Return where the input channels of a layer are: 1 in convolutions, else last."""
    return -1 if kind in (LayerKind.LINEAR, LayerKind.ATTENTION_PROBABILITIES) else 1
