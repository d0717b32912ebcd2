"""What an adapter marks in a model: places that are no layers, and layers that never run."""

from torch import nn


class AttentionProbabilities(nn.Identity):
    """Marks where attention probabilities pass: an adapter puts it behind its softmax.

    It returns what it gets, shape (batch, heads, queries, keys) or with both leading axes merged.
    """


_IDLE = "_ptq4adm_idle"


def mark_idle_(module: nn.Module) -> None:
    """Say of a module and all below it that generating a clip never runs them.

    Their weights can be quantized; inputs that never come have no range to calibrate.
    """
    for part in module.modules():
        setattr(part, _IDLE, True)


def is_idle(module: nn.Module) -> bool:
    """Whether an adapter has marked a module so."""
    return bool(getattr(module, _IDLE, False))
