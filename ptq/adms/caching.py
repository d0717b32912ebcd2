"""Caches what a denoiser computes again and again: projections of the time, and of the text.

Within a trajectory, ``attn2.to_k`` and ``to_v`` see the same text at every step, and
``time_emb_proj`` the same time for every prompt. AudioLDM's time embedding is two things side by
side, W [t; c] = W_t t + W_c c: of the time there is one row a step, of the text one a prompt. A
cached sum differs from the layer's own by float32 rounding, so nothing is cached unless asked for.

TFMQ-DM (Huang et al. 2024, arXiv 2311.16503) caches what depends on the time alone; the split is
for AudioLDM, whose embedding does not. Layers whose inputs are quantized token by token do not add
up, and are left alone.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from ptq.context import StepContext, current_step
from ptq.layers import named_modules
from ptq.quantized_layer import QuantizedLayer
from ptq.scheme import ActivationMode

_TIME = "time_emb_proj"
_TEXT = ("attn2.to_k", "attn2.to_v")
Key = tuple[object, ...]
_Forward = Callable[[Tensor], Tensor]


@contextmanager
def cached_projections(
    parts: Mapping[str, nn.Module], *, time_width: int | None = None, text: bool = False
) -> Iterator["ProjectionCache"]:
    """Cache a denoiser's projections in a ``with`` block; afterwards it is as it was.

    Rows are told apart by sample id and guidance branch: one block serves one list of prompts.

    Args:
        parts: The model's parts.
        time_width: Where the time ends and the text begins in the time embedding; ``None`` where
            it holds the time alone.
        text: Whether ``attn2`` attends to text, which is true of all but AudioLDM.
    """
    cache = ProjectionCache(time_width)
    replaced: list[nn.Module] = []
    try:
        for name, module in named_modules(parts):
            if _adds_up(module) and name.endswith(_TIME):
                _replace(module, partial(cache.time, name, module.forward))
                replaced.append(module)
            elif text and _adds_up(module) and name.endswith(_TEXT):
                _replace(module, partial(cache.text, name, module.forward))
                replaced.append(module)
        yield cache
    finally:
        for module in replaced:
            del module.__dict__["forward"]


def _replace(module: nn.Module, forward: _Forward) -> None:
    module.__dict__["forward"] = forward


def _adds_up(module: nn.Module) -> bool:
    if isinstance(module, nn.Linear):
        return True
    if not isinstance(module, QuantizedLayer):
        return False
    quantizer = module.input_quantizer
    return quantizer is None or quantizer.scheme.mode is ActivationMode.STATIC


class ProjectionCache:
    """Rows that were computed, and how often a row was found again.

    Args:
        time_width: As in ``cached_projections``.
    """

    def __init__(self, time_width: int | None) -> None:
        self._width = time_width
        self._rows: dict[Key, Tensor] = {}
        self.computed = self.found = 0

    def time(self, name: str, forward: _Forward, values: Tensor) -> Tensor:
        """A projection of the time embedding (batch, width), one row a step and a prompt."""
        context = current_step()
        if context is None or len(values) != len(context.sample_ids):
            return forward(values)
        at = (name, context.step, context.n_steps)
        if self._width is None:
            row = self._row(("time", *at), lambda: forward(values[:1]))
            return row.expand(len(values), *row.shape[1:])
        zero = torch.zeros_like(values[:1])
        time = torch.cat([values[:1, : self._width], zero[:, self._width :]], dim=1)
        base = self._row(("time", *at), lambda: forward(time))
        # Zero is exact in every range: what is left of it is the bias.
        bias = self._row(("bias", name), lambda: forward(zero))
        texts = torch.cat([zero.expand_as(values)[:, : self._width], values[:, self._width :]], 1)
        return base + self._samples(name, forward, texts, context) - bias

    def text(self, name: str, forward: _Forward, values: Tensor) -> Tensor:
        """A projection of the text (batch, tokens, width), one a prompt."""
        context = current_step()
        if context is None or len(values) != len(context.sample_ids):
            return forward(values)
        return self._samples(name, forward, values, context)

    def _samples(
        self, name: str, forward: _Forward, values: Tensor, context: StepContext
    ) -> Tensor:
        """One row for each sample and guidance branch, and for each range of the quantizer."""
        bucket = _bucket(forward, context)
        keys = zip(context.branch, context.sample_ids, strict=True)
        rows = [
            self._row(("sample", name, bucket, *key), partial(forward, values[i : i + 1]))
            for i, key in enumerate(keys)
        ]
        return torch.cat(rows)

    def _row(self, key: Key, compute: Callable[[], Tensor]) -> Tensor:
        if key in self._rows:
            self.found += 1
        else:
            self.computed += 1
            self._rows[key] = compute()
        return self._rows[key]


def _bucket(forward: _Forward, context: StepContext) -> int:
    """The timestep bucket whose range the layer's quantizer uses; 0 without one."""
    layer = getattr(forward, "__self__", None)
    quantizer = layer.input_quantizer if isinstance(layer, QuantizedLayer) else None
    return 0 if quantizer is None else context.bucket(quantizer.scheme.timestep_buckets)
