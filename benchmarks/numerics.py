"""How much of a quantized clip's error is chance? ``python -m benchmarks.numerics [--pairs 16]``.

Each model samples twice: from a noise, and from the same noise changed in its seventh digit, as
little as another order of summation changes what a layer puts out. What a rounded activation makes
of that is another draw of the same error, and says how far single clips, and the figures that rest
on few of them, come out otherwise where the same plan is run on another machine.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assets.recipe.gallery import default_calibration, plan_of, quantized_copy
from benchmarks.clips import SETTINGS
from benchmarks.latents import sampled_latents
from benchmarks.records import earlier, write_results
from ptq.adms.base import AudioDiffusionModel
from ptq.adms.loading import load_adm
from ptq.adms.placed import accelerator, device_name, placed
from ptq.adms.registry import find_adm
from ptq.adms.sampling import NoiseTape
from ptq.affine import sqnr_db
from ptq.presets import preset
from ptq.report_markdown import number, table

PRESETS = ("fp", "w8a16", "w8a8", "ptq4adm")
_NUDGE = 1e-6
_SEED = 700


class NudgedTape(NoiseTape):
    """The same noise, a millionth stronger."""

    def __call__(self, sample_ids: Sequence[int], step: int, shape: Sequence[int]) -> Tensor:
        """Noise of some samples at one step."""
        return super().__call__(sample_ids, step, shape) * (1 + _NUDGE)


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=16)
    pairs: int = parser.parse_args().pairs
    adm = load_adm(find_adm("mini-audioldm"))
    calibration = default_calibration(adm, SETTINGS)
    what = {
        **{"adm": adm.id, "model": adm.source_hash, "n": pairs, "seed": _SEED, "nudge": _NUDGE},
        **{"settings": asdict(SETTINGS), "device": device_name()},
        "plans": {name: plan_of(adm, preset(name)).sha256 for name in PRESETS},
        "calibration": calibration.manifest.sha256,
    }
    rows = list(earlier("numerics", what).get("rows", []))
    if len(rows) < len(PRESETS):
        full = _sampled(adm, pairs, NoiseTape(_SEED))
        for name in PRESETS[len(rows) :]:
            other = adm if name == "fp" else quantized_copy(adm, preset(name), calibration)
            rows.append({"preset": name, **row(other, full, pairs)})
            write_results("numerics", {**what, "rows": rows})
    show(rows)


def row(adm: AudioDiffusionModel, full: Tensor, pairs: int) -> dict[str, list[float]]:
    """Latent SQNR of a model to full precision, and to itself from nudged noise, pair by pair.

    Args:
        adm: Quantized, or full precision itself, which has no error.
        full: Latents of full precision, ``(pairs, channels, frames, mels)``.
        pairs: How many prompts.
    """
    first, again = (_sampled(adm, pairs, tape(_SEED)) for tape in (NoiseTape, NudgedTape))
    found = {"nudged_db": _each(first, again)}
    return found if torch.equal(first, full) else {**found, "sqnr_db": _each(full, first)}


def _sampled(adm: AudioDiffusionModel, pairs: int, noise: NoiseTape) -> Tensor:
    return sampled_latents(placed(adm, accelerator()), SETTINGS, pairs, _SEED, noise=noise)


def _each(exact: Tensor, close: Tensor) -> list[float]:
    return [round(sqnr_db(a, b), 3) for a, b in zip(exact, close, strict=True)]


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print medians."""
    cells = [
        (
            row["preset"],
            number(float(np.median(row["sqnr_db"])) if "sqnr_db" in row else None, 1, " dB"),
            number(float(np.median(row["nudged_db"])), 1, " dB"),
        )
        for row in rows
    ]
    print(table(("preset", "to full precision", "to itself, nudged"), cells))


if __name__ == "__main__":
    main()
