"""ONNX Runtime's static 8-bit quantization of a denoiser, executed by ONNX Runtime itself.

First, last and embedding layers and the products of attention stay in floating point, as they do in
the presets. What the quantized layers are given is 8-bit, and what they give, which presets keep.

``onnx``, ``onnxscript`` and ``onnxruntime`` are installed for this benchmark alone, and imported
when it asks for them.
"""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.denoiser_calls import calls_of, is_end
from ptq.adms.audioldm import AudioLDM
from ptq.calibration.states import StateSet

# What the toolkit's own guide quantizes: products with weights, and convolutions.
_OPERATORS = ["Conv", "MatMul", "Gemm"]
_MAKERS_OPSET = 18
_HALF_BYTES = 2


class OnnxDenoiser(nn.Module):
    """Stands in for a denoiser; its session is made in the process that first asks it."""

    def __init__(self, path: Path, config: object) -> None:
        super().__init__()
        self.path, self.config = path, config
        self._session: Any = None

    def forward(
        self, sample: Tensor, timestep: float, *, class_labels: Tensor, **_unused: object
    ) -> SimpleNamespace:
        """Predict, as diffusers' denoiser does."""
        if self._session is None:
            runtime = importlib.import_module("onnxruntime")
            options = runtime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            self._session = runtime.InferenceSession(str(self.path), options)
        inputs = _inputs(sample, float(timestep), class_labels)
        predicted = torch.from_numpy(self._session.run(None, inputs)[0])
        return SimpleNamespace(sample=predicted.to(sample.device))

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the session, which no other process can use."""
        return {**self.__dict__, "_session": None}

    @property
    def size_bytes(self) -> int:
        """Bytes of all constants; floating ones count two bytes each, as everywhere."""
        onnx = importlib.import_module("onnx")
        arrays = map(onnx.numpy_helper.to_array, onnx.load(str(self.path)).graph.initializer)
        return sum(
            array.size * (_HALF_BYTES if array.dtype.kind == "f" else array.itemsize)
            for array in arrays
        )

    def quantized(self) -> tuple[int, int]:
        """How many products of matrices and how many convolutions have quantized weights."""
        graph = importlib.import_module("onnx").load(str(self.path)).graph
        held = {array.name for array in graph.initializer}
        weights = {
            node.output[0]
            for node in graph.node
            if node.op_type == "DequantizeLinear" and node.input[0] in held
        }
        kinds = [
            node.op_type
            for node in graph.node
            if node.op_type in _OPERATORS and weights & set(node.input[:2])
        ]
        return len(kinds) - kinds.count("Conv"), kinds.count("Conv")


def onnx_denoiser(adm: AudioLDM, states: StateSet, folder: Path) -> OnnxDenoiser:
    """Export the denoiser, calibrate it on states of both guidance branches, and quantize it.

    Args:
        adm: The full-precision model.
        states: What to calibrate on.
        folder: Where the files go.
    """
    tools = importlib.import_module("onnxruntime.quantization")
    prepare = importlib.import_module("onnxruntime.quantization.shape_inference")
    folder.mkdir(parents=True, exist_ok=True)
    plain, prepared, path = (folder / f"{name}.onnx" for name in ("plain", "prepared", "int8"))
    if not path.exists():
        _export(adm, plain)
        # The symbolic inference gives up on a batch of any size, which nothing here needs.
        prepare.quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        partial = folder / "partial.onnx"
        tools.quantize_static(
            str(prepared),
            str(partial),
            _reader(tools, adm, states),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            per_channel=True,
            nodes_to_exclude=_ends(prepared),
            extra_options={"MatMulConstBOnly": True},
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
        )
        partial.replace(path)
    return OnnxDenoiser(path, adm.unet.config)


def _ends(path: Path) -> list[str]:
    """Names of the nodes that compute the layers which presets keep."""
    nodes = importlib.import_module("onnx").load(str(path)).graph.node
    return [
        node.name for node in nodes if node.op_type in _OPERATORS and any(map(_is_end, node.input))
    ]


def _is_end(constant: str) -> bool:
    return is_end(constant.removeprefix("unet."))


class _Predict(nn.Module):
    """The denoiser with tensors alone for arguments, as an export needs it."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: Tensor, timestep: Tensor, class_labels: Tensor) -> Tensor:
        predicted: Tensor = self.unet(
            sample, timestep, encoder_hidden_states=None, class_labels=class_labels
        ).sample
        return predicted


def _export(adm: AudioLDM, path: Path) -> None:
    sample = torch.zeros(adm.latent_shape(2, adm.spec.default_seconds))
    labels = adm.encode(["", ""]).cond["class_labels"].clone()
    batch = torch.export.Dim("batch", min=2, max=63)
    torch.onnx.export(
        _Predict(adm.unet).eval(),
        (sample, torch.zeros(1), labels),
        str(path),
        input_names=["sample", "timestep", "class_labels"],
        opset_version=_MAKERS_OPSET,
        dynamo=True,
        dynamic_shapes={"sample": {0: batch}, "timestep": None, "class_labels": {0: batch}},
        external_data=False,
    )


def _inputs(sample: Tensor, timestep: float, labels: Tensor) -> dict[str, NDArray[np.float32]]:
    return {
        "sample": sample.cpu().numpy(),
        "timestep": np.array([timestep], dtype=np.float32),
        "class_labels": labels.cpu().numpy(),
    }


def _fed(adm: AudioLDM, states: StateSet) -> Iterator[Mapping[str, NDArray[np.float32]]]:
    for call in calls_of(adm, states):
        yield _inputs(call["sample"], float(call["timestep"]), call["class_labels"])


def _reader(tools: ModuleType, adm: AudioLDM, states: StateSet) -> object:
    """Hands one state after the other to the toolkit, through the class that it expects."""
    fed = _fed(adm, states)
    kind = type("States", (tools.CalibrationDataReader,), {"get_next": lambda _: next(fed, None)})
    return kind()
