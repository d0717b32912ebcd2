"""Against the toolkits that people use, at equal bytes: ``python -m benchmarks.toolkits``.

``pip install -r benchmarks/toolkits.txt`` first; a toolkit that is missing is left out with a word.
Each quantizes the denoiser alone, by its own documented call, and is scored with the prompts, the
noise and the second-seed bank of ``benchmarks.presets``. Below it stands PTQ4ADM's best allocation
in as many bytes: weights alone where the toolkit quantizes weights alone, 8-bit activations too for
ONNX Runtime, which executes integers where the other rows simulate them. Finished rows are kept.
"""

import argparse
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import Any

import torch

from benchmarks.allocations import allocator_of, sensitivities_of
from benchmarks.clips import CACHE, SETTINGS, ClipBank
from benchmarks.onnx_denoiser import onnx_denoiser
from benchmarks.presets import SEED, PlanBench, fd_cells
from benchmarks.records import earlier, write_results
from benchmarks.toolkit_weights import TOOLKITS, stored_by, with_weights
from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import layers_of
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.allocate import Allocation
from ptq.calibration.purposes import Purpose
from ptq.config import QuantConfig, QuantRule
from ptq.layer_spec import DENOISER
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.plan import resolve_plan
from ptq.prompts.suites import Suite, draw_suite
from ptq.report_markdown import megabytes, number, table
from ptq.scheme import LayerScheme

ONNX = "onnxruntime"
NAMES = (*TOOLKITS, ONNX)
_HALF_BYTES = 2


def main() -> None:
    """Generate, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--toolkits", nargs="+", default=list(NAMES), choices=NAMES)
    arguments = parser.parse_args()
    adm, ear = load_adm(find_adm("mini-audioldm")), find_ear()
    if not isinstance(adm, AudioLDM) or not isinstance(ear, Ear):
        raise SystemExit(f"Toolkits are scored with the shipped ear: {ear}")
    prompts = draw_suite(Suite.FINAL, arguments.pairs, SEED)
    contest = Contest(adm=adm, bench=PlanBench(adm=adm, ear=ear, prompts=prompts, configs={}))
    what = {
        **{"adm": adm.id, "model": adm.source_hash, "embedder": ear.id, "ear": ear.sha256},
        **{"n": arguments.pairs, "settings": {**asdict(SETTINGS), "seed": SEED}},
        "sensitivities": sensitivities_of(adm).sha256,
    }
    rows = list(earlier("toolkits", what).get("rows", []))
    for toolkit in arguments.toolkits:
        version = _version(toolkit)
        if version is None:
            print(f"Left out: {toolkit} is not installed; see benchmarks/toolkits.txt.")
        elif not any(row["toolkit"] == f"{toolkit} {version}" for row in rows):
            rows += contest.rows(toolkit, version)
            write_results("toolkits", {**what, "rows": rows})
    show(rows)


def _version(toolkit: str) -> str | None:
    try:
        return metadata.version(toolkit)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Toolkits and PTQ4ADM on one model.

    Attributes:
        adm: The full-precision model.
        bench: Scores clips.
    """

    adm: AudioLDM
    bench: PlanBench

    def rows(self, toolkit: str, version: str) -> Iterator[dict[str, Any]]:
        """The toolkit's row, and that of PTQ4ADM in as many bytes."""
        if toolkit == ONNX:
            other, size, layers = self._by_onnx()
        else:
            other, size, layers = self._by_weights(toolkit)
        bank = self.bench.bank(f"{toolkit}-{version}", other)
        named = {"toolkit": f"{toolkit} {version}"}
        yield {
            **{"name": f"{toolkit} {version}", "denoiser_bytes": size, "layers": layers},
            **named,
            **self._scores(bank),
        }
        found = self.allocation(size)
        config = found.config() if toolkit == ONNX else weights_alone(found)
        plan = resolve_plan(config, layers_of(self.adm))
        quantized = self.bench.quantized_by(config)
        yield {
            "name": f"PTQ4ADM in the bytes of {toolkit}",
            "denoiser_bytes": self._denoiser_bytes(found),
            "layers": sum(spec.part == DENOISER for spec in plan.quantized),
            **named,
            "plan": plan.sha256,
            **self._scores(self.bench.bank(self.bench.clips_name(plan), quantized)),
        }

    def _by_weights(self, toolkit: str) -> tuple[AudioLDM, int, int]:
        labels = self.adm.encode(["", ""]).cond["class_labels"].clone()
        example = {
            "sample": torch.zeros(self.adm.latent_shape(2, SETTINGS.seconds)),
            **{"timestep": torch.zeros(()), "encoder_hidden_states": None},
            "class_labels": labels,
        }
        stored = stored_by(toolkit, self.adm.unet, example)
        other = copy.copy(self.adm)
        other.unet = with_weights(self.adm.unet, stored.weights)
        return other, stored.size_bytes, len(stored.weights)

    def _by_onnx(self) -> tuple[AudioLDM, int, int]:
        states = self.bench.calibration.sets[Purpose.STATISTICS]
        folder = CACHE / self.adm.source_hash[:12] / f"{ONNX}-{metadata.version(ONNX)}"
        other = copy.copy(self.adm)
        other.unet = onnx_denoiser(self.adm, states, folder)
        layers = [info for info in self._layers() if info.part == DENOISER]
        return other, other.unet.size_bytes, sum(info.kind.has_weight for info in layers)

    def _layers(self) -> Sequence[Any]:
        return layers_of(self.adm)

    def _beside(self) -> int:
        """Bytes of what belongs to no layer: the norms."""
        layers = [info for info in self._layers() if info.part == DENOISER]
        held = sum(info.parameters + info.bias_parameters for info in layers)
        everything = sum(p.numel() for p in self.adm.unet.parameters())
        return int(_HALF_BYTES * (everything - held))

    def allocation(self, denoiser_bytes: int) -> Allocation:
        """PTQ4ADM's plan whose denoiser takes no more bytes than that, or as many as it can use."""
        layers = self._layers()
        allocator = allocator_of(self.adm)
        base = allocator.base
        others = base.size_bytes(layers) - base.size_bytes(layers, DENOISER)
        room = denoiser_bytes - self._beside() + others
        return allocator(min(room, allocator.limits()[1]), "equal-bytes")

    def _denoiser_bytes(self, found: Allocation) -> int:
        return found.plan.size_bytes(self._layers(), DENOISER) + self._beside()

    def _scores(self, quantized: ClipBank) -> dict[str, Any]:
        full, second = self.bench.bank("fp", self.adm), self.bench.bank("fp", self.adm, 1)
        return self.bench.scores(full, second, quantized)


def weights_alone(found: Allocation) -> QuantConfig:
    """The plan of a denoiser's weights, everything else in floating point."""
    rules = tuple(
        replace(rule, scheme=replace(rule.scheme, activation=None))
        if rule.pattern.startswith(f"{DENOISER}.")
        else QuantRule(pattern=rule.pattern, scheme=LayerScheme())
        for rule in found.config().rules
    )
    return QuantConfig(name="weights-alone", rules=rules)


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table."""
    header = ("denoiser by", "bytes", "layers", "FD increase", "95 % interval", "verdict")
    cells = [
        (
            row["name"],
            megabytes(row["denoiser_bytes"]),
            str(row["layers"]),
            *fd_cells(row),
            row.get("verdict", "n/a"),
            number(row["latent_sqnr_db"], 1, " dB"),
            number(row["divergence_index"], 3),
        )
        for row in rows
    ]
    print(table((*header, "latent SQNR", "divergence index"), cells))


if __name__ == "__main__":
    main()
