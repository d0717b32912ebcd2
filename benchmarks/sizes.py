"""What every preset of the embedded voice takes on disk: ``python -m benchmarks.sizes``."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from assets.recipe.gallery import default_calibration, plan_of, quantized_copy
from benchmarks.clips import SETTINGS
from benchmarks.records import write_results
from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.checkpoint import packed_bytes, save_packed
from ptq.layer_spec import DENOISER, LayerInfo
from ptq.layers import named_tensors
from ptq.plan import QuantPlan
from ptq.presets import PRESETS, preset
from ptq.report_markdown import megabytes, number, table

_FLOAT_BYTES, _HALF_BYTES = 4, 2


def size_of(quantized: AudioDiffusionModel, plan: QuantPlan, values: int) -> dict[str, float]:
    """Bytes of the packed pipeline, and how far they lie below float formats of it.

    Args:
        quantized: Packed into a temporary folder.
        plan: What was done to it.
        values: Weights of the full-precision pipeline.
    """
    with tempfile.TemporaryDirectory() as folder:
        save_packed(Path(folder) / "packed", quantized.parts(), plan)
        size = packed_bytes(Path(folder) / "packed")
    return {
        "size_bytes": size,
        "reduction_pct": 100 * (1 - size / (_FLOAT_BYTES * values)),
        "reduction_fp16_pct": 100 * (1 - size / (_HALF_BYTES * values)),
    }


def denoiser_bytes(adm: AudioDiffusionModel, plan: QuantPlan) -> int:
    """What a plan leaves of the denoiser alone; what belongs to no layer, its norms, stays fp16."""
    layers = layers_of(adm)
    return plan.size_bytes(layers, DENOISER) + bytes_beside(adm, layers)


def bytes_beside(adm: AudioDiffusionModel, layers: Sequence[LayerInfo]) -> int:
    """Bytes of what belongs to no layer of the denoiser, in fp16."""
    own = [info for info in layers if info.part == DENOISER]
    held = sum(info.parameters + info.bias_parameters for info in own)
    return _HALF_BYTES * (_parameters(adm.parts()[DENOISER]) - held)


def denoiser_reduction_pct(adm: AudioDiffusionModel, plan: QuantPlan) -> float:
    """How far the denoiser alone lies below fp32."""
    full = _FLOAT_BYTES * _parameters(adm.parts()[DENOISER])
    return 100 * (1 - denoiser_bytes(adm, plan) / full)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def values_of(adm: AudioDiffusionModel) -> int:
    """How many numbers a full-precision pipeline holds."""
    return sum(tensor.numel() for _, tensor in named_tensors(adm.parts()))


def main() -> None:
    """Quantize with every preset, print and write."""
    adm = load_adm(find_adm("mini-audioldm"))
    values, calibration = values_of(adm), default_calibration(adm, SETTINGS)
    rows: list[dict[str, Any]] = []
    for name in PRESETS:
        copy = adm if name == "fp" else quantized_copy(adm, preset(name), calibration)
        rows.append({"name": name, **size_of(copy, plan_of(adm, preset(name)), values)})
    path = write_results("sizes", {"model": adm.source_hash, "values": values, "presets": rows})
    cells = [
        (
            row["name"],
            megabytes(row["size_bytes"]),
            number(row["reduction_pct"], 1, " %"),
            number(row["reduction_fp16_pct"], 1, " %"),
        )
        for row in rows
    ]
    print(table(("preset", "size", "below fp32", "below fp16"), cells))
    print(path)


if __name__ == "__main__":
    main()
