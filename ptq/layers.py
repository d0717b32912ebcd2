"""The layers of a model: the only place that walks its modules.

Names are ``part.path``, such as ``denoiser.mid_block.attentions.0.proj_in``. A module that a model
reaches by several paths, or a layer tied to another of its kind, counts once, under the first name,
and is replaced under all. A part that is itself a layer has no path and is left alone.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ptq.errors import LayerError
from ptq.layer_spec import LayerInfo, LayerKind
from ptq.scheme import FLOAT_BITS
from ptq.sites import AttentionProbabilities, is_idle
from ptq.spelling import nearest_layers
from ptq.weights import row_length

LAYER_TYPES: Mapping[type[nn.Module], LayerKind] = {
    nn.Linear: LayerKind.LINEAR,
    nn.Conv1d: LayerKind.CONV1D,
    nn.Conv2d: LayerKind.CONV2D,
    nn.ConvTranspose1d: LayerKind.CONV_TRANSPOSE1D,
    nn.ConvTranspose2d: LayerKind.CONV_TRANSPOSE2D,
    nn.Embedding: LayerKind.EMBEDDING,
    AttentionProbabilities: LayerKind.ATTENTION_PROBABILITIES,
}
_SPLITTABLE = (LayerKind.LINEAR, LayerKind.CONV1D, LayerKind.CONV2D)


def layer_kind(module: nn.Module) -> LayerKind | None:
    """Return what a module is to a quantizer, ``None`` for what it leaves alone.

    A subclass that computes something else in its ``forward`` is left alone.
    """
    for base, kind in LAYER_TYPES.items():
        if isinstance(module, base):
            return kind if type(module).forward is base.forward else None
    return None


def inventory(
    parts: Mapping[str, nn.Module], splits: Mapping[str, int] | None = None
) -> tuple[LayerInfo, ...]:
    """Return every quantizable site, in the order of the modules.

    Args:
        parts: the models of a pipeline by name.
        splits: for layers whose input is a concatenation, the channel where its first half ends.

    Raises:
        LayerError: for a split that names no layer or does not fit it.
    """
    remaining = dict(splits or {})
    infos, known = [], set[tuple[LayerKind, tuple[int, ...]]]()
    for name, module in named_modules(parts):
        kind = layer_kind(module)
        if kind is None or "." not in name:
            continue
        held = tuple(map(id, module.parameters(recurse=False)))
        if held and (kind, held) in known:
            continue
        known.add((kind, held))
        infos.append(_describe(name, module, kind, remaining.pop(name, None)))
    if remaining:
        name = next(iter(remaining))
        nearest = nearest_layers(name, [info.name for info in infos], count=1)
        raise LayerError(f"the split '{name}' names no layer; the nearest is {', '.join(nearest)}.")
    return tuple(infos)


def named_modules(parts: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module of every part once, under the first of its names."""
    seen: set[nn.Module] = set()
    for part, model in parts.items():
        for path, module in model.named_modules(memo=seen):
            yield (f"{part}.{path}" if path else part), module


def named_tensors(parts: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """Yield every parameter and persistent buffer once, under the first of its names."""
    seen: set[int] = set()
    for part, model in parts.items():
        for key, tensor in model.state_dict(keep_vars=True).items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield f"{part}.{key}", tensor


def get_layer(parts: Mapping[str, nn.Module], name: str) -> nn.Module:
    """Return the module called ``part.path``.

    Raises:
        LayerError: naming the nearest module.
    """
    part, _, path = name.partition(".")
    try:
        return parts[part].get_submodule(path)
    except (KeyError, AttributeError) as error:
        nearest = nearest_layers(name, [known for known, _ in named_modules(parts)], count=1)
        raise LayerError(f"there is no layer '{name}'; the nearest is {nearest[0]}.") from error


def set_layer_(parts: Mapping[str, nn.Module], name: str, replacement: nn.Module) -> None:
    """Put ``replacement`` wherever the parts hold the module called ``name``.

    Raises:
        LayerError: when there is none.
    """
    old = get_layer(parts, name)
    weight = old._parameters.get("weight")
    for _, parent in list(named_modules(parts)):
        for key, child in list(parent._modules.items()):
            if child is None:
                continue
            shares = weight is not None and child._parameters.get("weight") is weight
            if child is old or (shares and _tied(child, old)):
                setattr(parent, key, replacement)


def _tied(a: nn.Module, b: nn.Module) -> bool:
    """Whether two layers of one kind share their parameters, as tied embeddings do."""
    kind, ours = layer_kind(a), dict(a.named_parameters(recurse=False))
    if kind is None or kind is not layer_kind(b) or not ours:
        return False
    theirs = dict(b.named_parameters(recurse=False))
    return ours.keys() == theirs.keys() and all(ours[key] is theirs[key] for key in ours)


def float_bits(values: Tensor) -> int:
    """Return what a value takes in a file: 16 bits where these hold every one exactly, else 32."""
    values = values.detach()
    small = values.element_size() == FLOAT_BITS // 8
    exact = small or torch.equal(values.half().to(values.dtype), values)
    return FLOAT_BITS if exact else 2 * FLOAT_BITS


def _describe(name: str, module: nn.Module, kind: LayerKind, split: int | None) -> LayerInfo:
    if not kind.has_weight:
        return LayerInfo(name=name, kind=kind)
    weight, bias = module.weight, getattr(module, "bias", None)
    groups = getattr(module, "groups", 1)
    if not isinstance(weight, Tensor) or not isinstance(groups, int):
        raise LayerError(f"{name} has no weight tensor; load its weights first.")
    shape = tuple(weight.shape)
    if split is not None:
        _check_split(name, kind, split, shape, groups)
    return LayerInfo(
        name=name,
        kind=kind,
        weight_shape=shape,
        row=row_length(shape, kind, groups),
        parameters=weight.numel(),
        bias_parameters=bias.numel() if isinstance(bias, Tensor) else 0,
        weight_float_bits=float_bits(weight),
        bias_float_bits=float_bits(bias) if isinstance(bias, Tensor) else FLOAT_BITS,
        idle=is_idle(module),
        grouped=groups > 1,
        split=split,
    )


def _check_split(
    name: str, kind: LayerKind, split: int, shape: tuple[int, ...], groups: int
) -> None:
    if kind not in _SPLITTABLE or groups != 1:
        raise LayerError(f"{name} cannot split its input: it is a grouped or transposed layer.")
    if not 0 < split < shape[1]:
        raise LayerError(
            f"{name} has {shape[1]} input channels, so it cannot be split at {split};"
            f" use 1 to {shape[1] - 1}."
        )
