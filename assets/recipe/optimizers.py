"""Optimizers of the trainings that a well-kept library does not give in one piece."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTUM = 0.95
# Narrower matrices (the convolutions to and from the latents) have too few directions to even out.
_NARROWEST = 32


class MatrixOptimizer:
    """Muon for weight matrices and convolutions, AdamW for everything else.

    Muon (Jordan et al. 2024, scaled as in arXiv 2502.16982 so that AdamW's learning rate fits)
    steps equally far along every direction of a weight matrix; ``torch.optim.Muon`` takes
    matrices only, so convolutions are handed to it as ``(out, in * height * width)`` views.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        elementwise: Collection[str] = (),
    ) -> None:
        """Take up the parameters that a module trains.

        Args:
            module: Whose parameters to train.
            lr: Learning rate of both.
            betas: Of AdamW.
            weight_decay: Of both.
            elementwise: Names of matrices that are left to AdamW, as embeddings always are.
        """
        embeddings = {
            id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)
        }
        self._matrices: list[tuple[nn.Parameter, nn.Parameter]] = []
        rest: list[nn.Parameter] = []
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            if name in elementwise or id(parameter) in embeddings or not _is_matrix(parameter):
                rest.append(parameter)
            else:
                view = nn.Parameter(_as_matrix(parameter.data, parameter))
                self._matrices.append((view, parameter))
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        if self._matrices:
            self._optimizers["muon"] = torch.optim.Muon(
                [matrix for matrix, _ in self._matrices],
                lr=lr,
                weight_decay=weight_decay,
                momentum=_MOMENTUM,
                adjust_lr_fn="match_rms_adamw",
            )
        if rest:
            self._optimizers["adamw"] = torch.optim.AdamW(
                rest, lr=lr, betas=betas, weight_decay=weight_decay
            )
        self._module = module

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both optimizers."""
        return [
            group for optimizer in self._optimizers.values() for group in optimizer.param_groups
        ]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self._module.zero_grad(set_to_none)
        for matrix, _ in self._matrices:
            matrix.grad = None

    def step(self) -> None:
        """Update the module's parameters by their gradients."""
        for matrix, parameter in self._matrices:
            if parameter.grad is not None:
                matrix.grad = _as_matrix(parameter.grad, parameter)
        for optimizer in self._optimizers.values():
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the states of both."""
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state[name])


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim > 1 and _narrow_side(parameter) >= _NARROWEST


def _narrow_side(parameter: Tensor) -> int:
    return min(len(parameter), parameter.numel() // len(parameter))


def _as_matrix(values: Tensor, weight: Tensor) -> Tensor:
    """``(out, everything else)``, in the order in which the weight lies in memory.

    Of the weight itself it is a view, channels last or not.
    """
    if not weight.is_contiguous():
        values = values.movedim(1, -1)
    return values.reshape(len(values), -1)
