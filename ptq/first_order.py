"""What errors of single layers do to the guided prediction, to first order and all at once.

Add up a prediction with random signs: the gradient of that sum says what any small error does to
it, ⟨∂/∂W, ΔW⟩ + ⟨∂/∂x, Δx⟩ for the weight and the input of a layer. Over independent signs the mean
square is the squared error of the whole prediction (Hutchinson 1990), so that one pass back for
each state serves all layers and all schemes, where quantizing one layer at a time takes a replay
for each of them. What is left out is what errors do to one another, and what a large error does
beyond the tangent.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ptq.activation import ActivationQuantizer
from ptq.affine import along
from ptq.calibration.replay import Replay
from ptq.layers import get_layer, layer_kind
from ptq.quantized_layer import QuantizedLayer, channel_axis


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """What a stand-in computes with, against the layer that it stands in for.

    Attributes:
        parameters: Differences of weight and bias, shaped as the layer's own.
        quantizer: Of the input, if it is quantized.
        balance: What input channels are divided by before, shaped as the input but for its length.
    """

    parameters: Mapping[str, Tensor]
    quantizer: ActivationQuantizer | None
    balance: Tensor | None

    @classmethod
    def of(cls, layer: nn.Module, stand_in: QuantizedLayer) -> "Change":
        """The change from a layer to what stands in for it."""
        effective = {"weight": stand_in.effective_weight, "bias": stand_in.bias}
        balance = dict(stand_in.named_buffers(recurse=False)).get("balance")
        return cls(
            parameters={
                name: (value - getattr(layer, name)).detach()
                for name, value in effective.items()
                if value is not None
            },
            quantizer=stand_in.input_quantizer,
            balance=balance,
        )

    def of_input(self, values: Tensor, axis: int) -> Tensor | None:
        """By how much a stand-in changes its input; ``None`` where it keeps it."""
        if self.quantizer is None:
            return None
        if self.balance is None:
            seen: Tensor = self.quantizer(values)
        else:
            factors = along(self.balance.to(values), values, axis)
            seen = self.quantizer(values / factors) * factors
        return seen - values


Changes = Mapping[str, Mapping[str, Change]]


def first_order_errors(
    replay: Replay, changes: Changes, *, draws: int = 1, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Relative squared error of the guided prediction for each layer and each change alone.

    Args:
        replay: The full-precision model, and the states that errors are measured on.
        changes: By layer name, and by any key.
        draws: Of signs for each state.
        seed: Of the signs.

    Raises:
        Cancelled: As soon as the replay is told to stop.
    """
    # A copy, for others may use the model meanwhile; one state at once, for a draw is of all.
    alone = replace(replay, adm=copy.deepcopy(replay.adm), batch_size=1)
    parts = alone.adm.parts()
    watched = {name: _Watched(get_layer(parts, name), found) for name, found in changes.items()}
    generator = torch.Generator().manual_seed(seed)
    signal = 0.0
    for call in alone.calls():
        with torch.enable_grad():
            said = call.predict(alone.adm)
        signal += draws * float(said.detach().double().square().sum())
        for left in reversed(range(draws)):
            signs = 2.0 * torch.randint(0, 2, said.shape, generator=generator) - 1.0
            torch.autograd.backward(said, signs.to(said), retain_graph=left > 0)
            for layer in watched.values():
                layer.add_draw()
    return {
        name: {key: square / (signal or 1.0) for key, square in layer.squares.items()}
        for name, layer in watched.items()
    }


@dataclass(eq=False)
class _Watched:
    """One layer, and what changes of it do to the sum of one draw.

    Attributes:
        layer: Of the model that is run.
        changes: By key.
        squares: What they did, added up over draws.
    """

    layer: nn.Module
    changes: Mapping[str, Change]
    squares: dict[str, float] = field(init=False)
    _through_input: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.squares = dict.fromkeys(self.changes, 0.0)
        self._through_input = dict.fromkeys(self.changes, 0.0)
        self.layer.requires_grad_()
        self.layer.register_forward_pre_hook(self.watch_input)

    def watch_input(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Hand the layer an alias of its input, whose gradient is that of this layer alone."""
        values = inputs[0]
        if not values.is_floating_point():
            return None
        with torch.no_grad():
            errors = self._input_errors(values)
        alias = values.view_as(values)
        if not alias.requires_grad:
            alias.requires_grad_()

        def on_gradient(gradient: Tensor) -> None:
            for error, keys in errors:
                done = float((gradient * error).sum())
                for key in keys:
                    self._through_input[key] += done

        hook: Callable[[Callable[[Tensor], None]], object] = alias.register_hook
        hook(on_gradient)
        return (alias, *inputs[1:])

    def _input_errors(self, values: Tensor) -> list[tuple[Tensor, list[str]]]:
        """Errors of the input, each with the changes that make it."""
        alike: dict[object, list[str]] = {}
        for key, change in self.changes.items():
            scheme = None if change.quantizer is None else change.quantizer.scheme
            alike.setdefault((scheme, change.balance is None), []).append(key)
        errors = (
            (self.changes[keys[0]].of_input(values, self._axis), keys) for keys in alike.values()
        )
        return [(error, keys) for error, keys in errors if error is not None]

    @property
    def _axis(self) -> int:
        kind = layer_kind(self.layer)
        return -1 if kind is None else channel_axis(kind)

    def add_draw(self) -> None:
        """Take in one draw, and forget its gradients."""
        gradients = {name: p.grad for name, p in self.layer.named_parameters(recurse=False)}
        through_weights = dict[int, float]()  # changes of the input alone share those of the weight
        for key, change in self.changes.items():
            own = id(change.parameters)
            if own not in through_weights:
                through_weights[own] = sum(
                    float((gradient * change.parameters[name]).sum())
                    for name, gradient in gradients.items()
                    if gradient is not None and name in change.parameters
                )
            self.squares[key] += (through_weights[own] + self._through_input[key]) ** 2
            self._through_input[key] = 0.0
        self.layer.zero_grad()
