"""What other toolkits make of a denoiser's weights, each by what its own documents advise.

All keep the first, last and embedding layers, as the presets do; what else they leave out is their
own choice. The toolkits are installed for this benchmark alone, and imported when it asks for them.
Their weights are read back, so that every toolkit computes with the same float kernels, which gives
what the toolkit's own layers give.
"""

import copy
import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.denoiser_calls import ENDS, is_end

_GROUP = 32
_INT4 = vars(torch)["int4"]  # torch's stubs do not know it
_HALF_BYTES = 2
_SDNQ_ARGUMENTS = (
    "weight",
    "scale",
    "scale_2",
    "scale_zero_point",
    "zero_point",
    "zero_point_scale",
    "zero_point_2",
    "svd_up",
    "svd_down",
    "hadamard",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """A denoiser as a toolkit stores it.

    Attributes:
        weights: What layers compute with, by name within the denoiser; the rest are kept.
        size_bytes: Of codes, scales and everything kept; floating values count two bytes each.
    """

    weights: Mapping[str, Tensor]
    size_bytes: int


Call = Mapping[str, Tensor]
Toolkit = Callable[[nn.Module, Call], Stored]


def torchao(unet: nn.Module, _example: Call) -> Stored:
    """4 bits in groups of 32, linear layers by HQQ, which takes no convolutions."""
    tools = importlib.import_module("torchao.quantization")
    scale = importlib.import_module("torchao.quantization.granularity")
    choose = importlib.import_module("torchao.quantization.quantize_.workflows")
    four = tools.IntxWeightOnlyConfig(weight_dtype=_INT4, granularity=scale.PerGroup(_GROUP))
    hqq = choose.IntxChooseQParamsAlgorithm.HQQ_SCALE_ONLY
    linear = replace(four, intx_choose_qparams_algorithm=hqq)
    offset = replace(four, mapping_type=tools.MappingType.ASYMMETRIC)
    tools.quantize_(unet, linear, filter_fn=lambda m, name: _asked(m, name, nn.Linear))
    tools.quantize_(unet, offset, filter_fn=lambda m, name: _asked(m, name, nn.Conv2d))
    found = {n: m.weight for n, m in unet.named_modules() if hasattr(_weight(m), "qdata")}
    return Stored(
        weights={name: weight.dequantize() for name, weight in found.items()},
        size_bytes=_bytes(unet.state_dict().values()),
    )


def _asked(module: nn.Module, name: str, kind: type[nn.Module]) -> bool:
    return isinstance(module, kind) and not is_end(name)


def quanto(unet: nn.Module, _example: Call) -> Stored:
    """4-bit linear layers and convolutions, by HQQ."""
    tools = importlib.import_module("optimum.quanto")
    kept = [f"{end}*" for end in ENDS]
    tools.quantize(unet, weights=tools.qint4, exclude=kept, optimizer=tools.HqqOptimizer())
    tools.freeze(unet)
    found = {n: m.weight for n, m in unet.named_modules() if isinstance(_weight(m), tools.QTensor)}
    return Stored(
        weights={name: weight.dequantize() for name, weight in found.items()},
        size_bytes=_bytes(unet.state_dict().values()),
    )


def sdnq(unet: nn.Module, _example: Call) -> Stored:
    """4 bits or more, as it chooses for each layer that it does not skip ("4bit-dynamic")."""
    tools = importlib.import_module("sdnq")
    made = tools.sdnq_post_load_quant(
        unet,
        weights_dtype="uint4",
        quant_conv=True,
        use_dynamic_quantization=True,
        modules_to_not_convert=list(ENDS),
        torch_dtype=torch.float32,
    )
    found = {n: m for n, m in made.named_modules() if hasattr(m, "sdnq_dequantizer")}
    return Stored(
        weights={
            name: module.sdnq_dequantizer(
                **{key: getattr(module, key, None) for key in _SDNQ_ARGUMENTS}
            )
            for name, module in found.items()
        },
        size_bytes=_bytes(made.state_dict().values()),
    )


def nncf(unet: nn.Module, example: Call) -> Stored:
    """4-bit linear layers in groups of 32; it compresses convolutions to 8 bits."""
    tools = importlib.import_module("nncf")
    # Its scale estimation made the prediction 0.7 dB worse in a trial; its AWQ puts scales before
    # layers, which weights that are read back do without.
    made = tools.compress_weights(
        unet,
        mode=tools.CompressWeightsMode.INT4_ASYM,
        dataset=tools.Dataset([{**example, "encoder_hidden_states": None}]),
        group_size=_GROUP,
        ratio=1.0,
        all_layers=True,
        ignored_scope=tools.IgnoredScope(patterns=[f".*{end}.*" for end in ENDS]),
    )
    size = _bytes(made.state_dict().values())
    plain = tools.strip(made, do_copy=False, strip_format=tools.StripFormat.IN_PLACE)
    found = {n: m for n, m in plain.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    return Stored(
        weights={name: module.weight.detach() for name, module in found.items()}, size_bytes=size
    )


TOOLKITS: Mapping[str, Toolkit] = MappingProxyType(
    {"torchao": torchao, "optimum-quanto": quanto, "sdnq": sdnq, "nncf": nncf}
)


def stored_by(toolkit: str, unet: nn.Module, example: Call) -> Stored:
    """What a toolkit makes of a copy of a denoiser.

    Args:
        toolkit: Its name among ``TOOLKITS``, which is that of its package.
        unet: The denoiser, which stays as it is.
        example: What it is called with.
    """
    # Not in inference mode, whose tensors the toolkits cannot wrap.
    with torch.no_grad():
        made = TOOLKITS[toolkit](copy.deepcopy(unet), example)
    return replace(made, weights=changed(unet, made.weights))


def changed(unet: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that differ from the denoiser's own: what a toolkit really quantized.

    Raises:
        SystemExit: None does, which would pass for quantization without loss.
    """
    own = unet.state_dict()
    found = {n: w for n, w in weights.items() if not torch.equal(w.float(), own[f"{n}.weight"])}
    if not found:
        raise SystemExit("The toolkit changed no weight.")
    return found


def with_weights(unet: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a denoiser that computes with other weights."""
    other = copy.deepcopy(unet)
    for name, weight in weights.items():
        own = other.get_submodule(name).weight
        if not isinstance(own, Tensor) or own.shape != weight.shape:
            raise SystemExit(f"The toolkit changed the shape of {name}.")
        own.data = weight.detach().float().clone()
    return other


def _weight(module: nn.Module) -> object:
    return getattr(module, "weight", None)


def _bytes(tensors: Iterable[object]) -> int:
    return -(-sum(_bits(tensor) for tensor in tensors if isinstance(tensor, Tensor)) // 8)


def _bits(tensor: Any) -> int:  # noqa: ANN401 - a tensor, or a toolkit's own kind of one
    codes = getattr(tensor, "qdata", None)
    if codes is not None:
        # torchao holds 4-bit codes as bytes where no kernel packs them: they count as packed.
        width = 4 if tensor.target_dtype is _INT4 else 8
        # A symmetric scheme holds zero points that say nothing.
        zeros = tensor.zero_point.numel() if bool(tensor.zero_point.any()) else 0
        return int(width * codes.numel() + 8 * (_HALF_BYTES * tensor.scale.numel() + zeros))
    width = 8 * (_HALF_BYTES if tensor.is_floating_point() else tensor.element_size())
    return int(width * tensor.numel())
