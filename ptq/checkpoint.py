"""Quantized models on disk: weights in the bits that the plan gives them, and no more.

A checkpoint is a folder of safetensors shards with a JSON index that holds the plan and the hashes.
Codes are packed bit by bit, scales are float16, ranges of activations float32. Tensors that are not
quantized are float16 where that is exact, else as they are. Nothing is ever unpickled. A loaded
model gives the outputs of the saved one bit for bit.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ptq.activation import ActivationQuantizer
from ptq.affine import QParams, code_limits
from ptq.errors import CheckpointError, ConfigError
from ptq.layer_spec import LayerInfo, LayerSpec, block_widths, branch_rank, scale_shape
from ptq.layers import float_bits, get_layer, named_tensors, set_layer_
from ptq.modules import quantized_layer
from ptq.packing import pack_codes, unpack_codes
from ptq.plan import QuantPlan
from ptq.quantize import check_plan
from ptq.quantized_layer import CORRECTION_BUFFERS, Corrections, QuantizedLayer, channel_axis
from ptq.scheme import FLOAT_BITS, Balance, WeightScheme
from ptq.shards import SHARD_BYTES, ShardReader, read_index, verify_shards, write_shards
from ptq.weights import QuantizedWeight

CHECKPOINT_SCHEMA = 2
# Of a tensor that is not quantized, unless the index says otherwise.
_USUAL_DTYPE = torch.float32


def save_packed(
    folder: Path,
    parts: Mapping[str, nn.Module],
    plan: QuantPlan,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write quantized parts to ``folder``, which appears complete or not at all.

    Args:
        folder: replaced if it exists.
        parts: as ``quantize_`` returned them.
        plan: the plan that they were quantized with.
        shard_bytes: size that a shard should not exceed.

    Raises:
        CheckpointError: when the parts were not quantized with this plan.
    """
    layers = {spec.name: _quantized(parts, spec) for spec in plan.quantized}
    floats = list(_float_tensors(parts, layers.values()))
    content = {
        "schema": CHECKPOINT_SCHEMA,
        "plan": json.loads(plan.to_json()),
        "dtypes": {
            name: str(tensor.dtype) for name, tensor in floats if tensor.dtype != _USUAL_DTYPE
        },
    }

    def stored() -> Iterator[tuple[str, Tensor]]:
        for spec in plan.quantized:
            yield from _packed_tensors(spec, layers[spec.name])
        for name, tensor in floats:
            yield name, _smallest_exact(tensor)

    write_shards(folder, stored(), content, shard_bytes=shard_bytes)


def load_packed(folder: Path, parts: Mapping[str, nn.Module]) -> QuantPlan:
    """Turn freshly built floating-point parts into the saved model, in place; return its plan.

    Raises:
        CheckpointError: when the folder is damaged, or was saved from another model.
        LayerError: when the plan names layers that the parts do not have.
    """
    index = read_index(folder)
    verify_shards(folder, index)
    plan = _content_plan(folder, index.content)
    infos = check_plan(parts, plan)
    with ShardReader(folder, index) as reader:
        layers = {
            spec.name: _read_layer(reader, get_layer(parts, spec.name), spec, infos[spec.name])
            for spec in plan.quantized
        }
        for name, layer in layers.items():
            set_layer_(parts, name, layer)
        dtypes = index.content.get("dtypes", {})
        for name, tensor in _float_tensors(parts, layers.values()):
            _restore_(tensor, reader.read(name), name, dtypes.get(name, str(_USUAL_DTYPE)))
    return plan


def packed_plan(folder: Path) -> QuantPlan:
    """Return the plan of a checkpoint without reading its weights.

    Raises:
        CheckpointError: when the folder is no checkpoint.
    """
    return _content_plan(folder, read_index(folder).content)


def packed_bytes(folder: Path) -> int:
    """Return the bytes of a checkpoint on disk, its index included.

    Raises:
        CheckpointError: when the folder is no checkpoint.
    """
    read_index(folder)
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _content_plan(folder: Path, content: Mapping[str, Any]) -> QuantPlan:
    if content.get("schema") != CHECKPOINT_SCHEMA:
        raise CheckpointError(
            f"{folder} has schema {content.get('schema')!r}; this version reads"
            f" {CHECKPOINT_SCHEMA}."
        )
    try:
        return QuantPlan.from_json(json.dumps(content.get("plan")))
    except ConfigError as error:
        raise CheckpointError(f"{folder} holds no usable plan: {error}") from error


def _quantized(parts: Mapping[str, nn.Module], spec: LayerSpec) -> QuantizedLayer:
    layer = get_layer(parts, spec.name)
    if not isinstance(layer, QuantizedLayer):
        raise CheckpointError(
            f"{spec.name} is not quantized though the plan says so; call quantize_ first."
        )
    return layer


def _float_tensors(
    parts: Mapping[str, nn.Module], layers: Iterable[QuantizedLayer]
) -> Iterator[tuple[str, Tensor]]:
    """Yield what the plan did not touch: all tensors but the buffers of quantized layers."""
    buffers = {id(buffer) for layer in layers for buffer in layer.buffers()}
    return ((name, tensor) for name, tensor in named_tensors(parts) if id(tensor) not in buffers)


def _packed_tensors(spec: LayerSpec, layer: QuantizedLayer) -> Iterator[tuple[str, Tensor]]:
    weight = layer.quantized_weight
    if spec.scheme.weight is not None and weight is not None:
        yield f"{spec.name}/codes", pack_codes(weight.codes, spec.scheme.weight.bits)
        yield f"{spec.name}/scale", weight.scale.cpu()
        if weight.zero_point is not None:
            zero_point = pack_codes(weight.zero_point, spec.scheme.weight.bits)
            yield f"{spec.name}/zero_point", zero_point
    for name in CORRECTION_BUFFERS:
        buffer = layer._buffers[name]
        if buffer is not None:
            yield f"{spec.name}/{name}", buffer.cpu()
    quantizer = layer.input_quantizer
    if quantizer is not None and quantizer.scheme.is_static:
        yield f"{spec.name}/input_scale", quantizer.scale.cpu()
        yield f"{spec.name}/input_zero_point", quantizer.zero_point.cpu()


def _smallest_exact(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    if tensor.dtype not in (torch.float32, torch.float64):
        return tensor
    return tensor.half() if float_bits(tensor) == FLOAT_BITS else tensor


def _read_layer(
    reader: ShardReader, source: nn.Module, spec: LayerSpec, info: LayerInfo
) -> QuantizedLayer:
    scheme = spec.scheme
    quantizer = _read_quantizer(reader, spec, info)
    if scheme.weight is None:
        return quantized_layer(source, weight=None, input_quantizer=quantizer)
    return quantized_layer(
        source,
        weight=_read_weight(reader, scheme.weight, info),
        input_quantizer=quantizer,
        corrections=_read_corrections(reader, scheme.weight, info, source),
    )


def _read_corrections(
    reader: ShardReader, scheme: WeightScheme, info: LayerInfo, source: nn.Module
) -> Corrections:
    balance = branch = None
    if scheme.balance is not Balance.NONE:
        balance = reader.read(f"{info.name}/balance").clone()
    if branch_rank(scheme, info):
        out, into = (reader.read(f"{info.name}/branch_{side}") for side in ("out", "in"))
        branch = (out.clone(), into.clone())
    # A bias of its own: the one that is read later must not land in the source's.
    bias = getattr(source, "bias", None)
    own = bias.detach().clone() if scheme.debias and isinstance(bias, Tensor) else None
    return Corrections(balance=balance, branch=branch, bias=own)


def _read_weight(reader: ShardReader, scheme: WeightScheme, info: LayerInfo) -> QuantizedWeight:
    shape, blocks = scale_shape(scheme, info), block_widths(scheme, info)
    codes_shape = (info.parameters // info.row, info.row)
    packed, scale = reader.read(f"{info.name}/codes"), reader.read(f"{info.name}/scale")
    if tuple(scale.shape) != shape or scale.dtype != torch.float16:
        raise CheckpointError(
            f"the scales of {info.name} have shape {tuple(scale.shape)} instead of {shape};"
            " the checkpoint was saved from another model."
        )
    zero_point = None
    if not scheme.symmetric:
        stream = reader.read(f"{info.name}/zero_point")
        zero_point = unpack_codes(stream, scheme.bits, shape, signed=False)
    return QuantizedWeight(
        codes=unpack_codes(packed, scheme.bits, codes_shape, signed=scheme.symmetric),
        scale=scale.clone(),
        zero_point=zero_point,
        blocks=blocks,
    )


def _read_quantizer(
    reader: ShardReader, spec: LayerSpec, info: LayerInfo
) -> ActivationQuantizer | None:
    scheme = spec.scheme.activation
    if scheme is None or not scheme.quantizes:
        return None
    table = None
    if scheme.is_static:
        quant_min, quant_max = code_limits(scheme.bits, symmetric=False)
        table = QParams(
            scale=reader.read(f"{spec.name}/input_scale").clone(),
            zero_point=reader.read(f"{spec.name}/input_zero_point").clone(),
            quant_min=quant_min,
            quant_max=quant_max,
        )
    return ActivationQuantizer(
        scheme, channel_axis=channel_axis(info.kind), split=spec.split, table=table
    )


@torch.no_grad()
def _restore_(target: Tensor, saved: Tensor, name: str, dtype: str) -> None:
    if target.shape != saved.shape or str(target.dtype) != dtype:
        raise CheckpointError(
            f"'{name}' was saved as {dtype} {tuple(saved.shape)}, the model has {target.dtype}"
            f" {tuple(target.shape)}; build the model as it was saved."
        )
    target.copy_(saved)
