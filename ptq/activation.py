"""Quantization of activations, simulated: values pass through the integers and come back."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ptq.affine import QParams, choose_qparams, code_limits, fake_quantize
from ptq.context import active_bucket
from ptq.errors import CalibrationError
from ptq.scheme import ActivationMode, ActivationScheme


class ExactBuffersModule(nn.Module):
    """A module some of whose buffers never change their dtype: ``.half()`` must not round them."""

    exact_buffers: ClassVar[tuple[str, ...]] = ()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        buffers = dict(self.named_buffers(recurse=False))
        exact = {name: buffers[name] for name in self.exact_buffers if name in buffers}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in exact.items():
            setattr(self, name, buffer.to(getattr(self, name).device))
        return self


class ActivationQuantizer(ExactBuffersModule):
    """Quantizes and dequantizes the input of a layer.

    Static ranges lie in tables (halves, buckets): two halves for a split input, hidden first, and
    the timestep bucket of the current ``StepContext``. Both guidance branches share them. Dynamic
    ranges come from the tensor, one for each token of a linear layer and for each sample of a
    convolution, so that a result does not depend on its batch.

    Args:
        scheme: bits and mode; 16 bits are no quantization and need no quantizer.
        channel_axis: 1 for convolutions, −1 for linear layers and attention probabilities.
        split: channel where the hidden half of a concatenated input ends.
        table: scales and zero points of shape (halves, buckets), for static ranges.

    Raises:
        CalibrationError: for static ranges without a table of the right shape.
    """

    exact_buffers = ("scale", "zero_point")
    scale: Tensor
    zero_point: Tensor

    def __init__(
        self,
        scheme: ActivationScheme,
        *,
        channel_axis: int,
        split: int | None = None,
        table: QParams | None = None,
    ) -> None:
        super().__init__()
        self.scheme, self.channel_axis, self.split = scheme, channel_axis, split
        if scheme.mode is ActivationMode.DYNAMIC:
            return
        shape = (1 if split is None else 2, scheme.timestep_buckets)
        if table is None or tuple(table.scale.shape) != shape:
            found = "none" if table is None else f"of shape {tuple(table.scale.shape)}"
            raise CalibrationError(
                f"static activations need a table of ranges of shape {shape}, there is {found};"
                " calibrate with this plan, or make the rule dynamic."
            )
        self.register_buffer("scale", table.scale.float())
        self.register_buffer("zero_point", table.zero_point.float())

    def forward(self, values: Tensor) -> Tensor:
        """Return ``values`` as the integers would have kept them: same shape, same dtype."""
        if self.split is None:
            return fake_quantize(values, self._qparams(values, 0))
        halves = [
            fake_quantize(piece, self._qparams(piece, half))
            for half, piece in enumerate(self._halves(values))
        ]
        return torch.cat(halves, dim=self.channel_axis)

    def n_beyond(self, values: Tensor) -> int:
        """Return how many values lie half a step or more beyond the outermost levels."""
        return sum(
            _n_beyond(piece, self._qparams(piece, half))
            for half, piece in enumerate(self._halves(values))
        )

    def extra_repr(self) -> str:
        """Return what ``print(model)`` shows."""
        return f"a{self.scheme.bits}, {self.scheme.mode}, split={self.split}"

    def _halves(self, values: Tensor) -> tuple[Tensor, ...]:
        if self.split is None:
            return (values,)
        sizes = [self.split, values.shape[self.channel_axis] - self.split]
        return torch.split(values, sizes, dim=self.channel_axis)

    def _qparams(self, values: Tensor, half: int) -> QParams:
        if self.scheme.mode is ActivationMode.DYNAMIC:
            return self._dynamic_qparams(values)
        bucket = active_bucket(self.scheme.timestep_buckets)
        quant_min, quant_max = code_limits(self.scheme.bits, symmetric=False)
        return QParams(
            scale=self.scale[half, bucket],
            zero_point=self.zero_point[half, bucket],
            quant_min=quant_min,
            quant_max=quant_max,
        )

    def _dynamic_qparams(self, values: Tensor) -> QParams:
        axes: Any = -1 if self.channel_axis == -1 else tuple(range(1, values.ndim))
        low, high = values.amin(dim=axes, keepdim=True), values.amax(dim=axes, keepdim=True)
        if self.scheme.unsigned:
            low = torch.zeros_like(low)
        return choose_qparams(low, high, bits=self.scheme.bits, symmetric=False)


def _n_beyond(values: Tensor, qparams: QParams) -> int:
    codes = qparams.quant_min - 0.5, qparams.quant_max + 0.5
    low, high = ((code - qparams.zero_point) * qparams.scale for code in codes)
    # As a rule nothing does, and to know so much takes less.
    if bool((values.amin() >= low).all()) and bool((values.amax() <= high).all()):
        return 0
    return int(((values < low) | (values > high)).sum())
