"""Stands in for a GPU, which the machines that run tests lack: the CPU, under another name.

Tensors that are sent there hold ordinary ones and say that they are somewhere else. An operation
on tensors of both places fails as on a GPU, and so does handing one to numpy.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("meta")
_MOVES = ("_to_copy", "copy_")


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Make the second device; what is on it lives as long as this context."""
    quiet: list[torch.no_grad] = []

    def start(_: object) -> None:
        quiet.append(torch.no_grad())
        quiet[-1].__enter__()

    def stop(_: object, *error: object) -> None:
        quiet.pop().__exit__(*error)

    # Tensors that hold others cannot be looked at in parts in inference mode.
    patched = mock.patch.multiple(torch.inference_mode, __enter__=start, __exit__=stop)
    router: Any = _Router
    with patched, _Maker(), router():
        yield ELSEWHERE


class _Moved(Tensor):
    """A tensor of the second device."""

    held: Tensor

    @staticmethod
    def __new__(cls: type["_Moved"], held: Tensor) -> "_Moved":
        make: Any = vars(torch._C.TensorBase)["_make_wrapper_subclass"]
        made: _Moved = make(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=ELSEWHERE,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls: type["_Moved"],
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        return _run(func, args, kwargs or {})


class _Maker(TorchFunctionMode):
    """Makes tensors of numbers here first: torch would make them there without asking."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        wanted = dict(kwargs or {})
        if func is not torch.tensor:
            return func(*args, **wanted)
        device = wanted.pop("device", None)
        made = func(*args, **wanted)
        return made if device is None else made.to(device)


class _Router(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sends what is made on the second device, or moved to it, there."""

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        return _run(func, args, kwargs or {})


def _run(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> object:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    moved = [tensor for tensor in tensors if isinstance(tensor, _Moved)]
    there, name = bool(moved), str(func).split(".")[1]
    if moved and name not in _MOVES:
        # A GPU takes single numbers from anywhere.
        others = [t for t in tensors if not isinstance(t, _Moved) and t.ndim > 0]
        if others:
            raise RuntimeError(f"{func} was given tensors of two devices")
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]).type == ELSEWHERE.type
        kwargs = {**kwargs, "device": torch.device("cpu")}
    made = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    known = {id(tensor.held): tensor for tensor in moved}
    if name == "copy_":
        return args[0]
    return tree_map(lambda value: _wrapped(value, known) if there else value, made)


def _held(value: object) -> object:
    return value.held if isinstance(value, _Moved) else value


def _wrapped(value: object, known: Mapping[int, _Moved]) -> object:
    if not isinstance(value, Tensor):
        return value
    return known[id(value)] if id(value) in known else _Moved(value)
