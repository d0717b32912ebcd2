"""Against the toolkits that people use, at equal bytes: ``python -m benchmarks.toolkits``.

``pip install -r benchmarks/toolkits.txt`` first; a toolkit that is missing is left out with a word.
Each quantizes the denoiser alone, by what its own documents advise, and is scored with the prompts,
the noise and the second-seed bank of ``benchmarks.claim``. Below it stands PTQ4ADM's best
allocation of the denoiser in as many bytes: weights alone where the toolkit quantizes weights
alone, with static 8-bit activations for ONNX Runtime, which executes integers where the other rows
simulate them; it is also compared with the toolkit, pair by pair. Finished rows are kept, and a
toolkit that fails leaves a row that says how.
"""

import argparse
import copy
import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import Any

from benchmarks.allocations import allocator_of, sensitivities_of
from benchmarks.calibration_cells import digest_of
from benchmarks.claim import FRESH
from benchmarks.clips import CACHE, SETTINGS, ClipBank
from benchmarks.denoiser_calls import ENDS, calls_of
from benchmarks.onnx_denoiser import onnx_denoiser
from benchmarks.presets import PlanBench, fd_cells, show_notes
from benchmarks.records import earlier, texts_hash, write_results
from benchmarks.sizes import bytes_beside, denoiser_bytes
from benchmarks.toolkit_weights import TOOLKITS, stored_by, with_weights
from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import layers_of
from ptq.adms.loading import load_adm
from ptq.adms.placed import device_name
from ptq.adms.registry import find_adm, lexicon_of
from ptq.allocate import Allocation, Allocator
from ptq.banks import ear_id
from ptq.calibration.purposes import Purpose
from ptq.config import QuantConfig, QuantRule
from ptq.layer_spec import DENOISER, LayerInfo, LayerKind
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.plan import resolve_plan
from ptq.prompts.suites import Suite, draw_suite
from ptq.report_markdown import megabytes, number, table
from ptq.scheme import LayerScheme

ONNX = "onnxruntime"
NAMES = (*TOOLKITS, ONNX)
# Whatever a toolkit raises is its own, but for a wish to stop; some exit instead.
_FAILURES = (Exception, SystemExit)
_AGAINST = ("increase_pct", "ci95_pct")


def main() -> None:
    """Generate, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--toolkits", nargs="+", default=list(NAMES), choices=NAMES)
    arguments = parser.parse_args()
    adm, ear = load_adm(find_adm("mini-audioldm")), find_ear()
    if not isinstance(adm, AudioLDM) or not isinstance(ear, Ear):
        raise SystemExit(f"Toolkits are scored with the shipped ear: {ear}")
    prompts = draw_suite(Suite.FINAL, arguments.pairs, FRESH, lexicon_of(adm.id))
    bench = PlanBench(adm=adm, ear=ear, prompts=prompts, configs={}, seed=FRESH)
    contest = Contest(adm=adm, bench=bench)
    what = {
        **{"adm": adm.id, "model": adm.source_hash, "ear": ear_id(ear)},
        **{"n": arguments.pairs, "settings": {**asdict(SETTINGS), "seed": FRESH}},
        "sensitivities": sensitivities_of(adm).sha256,
        "calibration": bench.calibration.manifest.sha256,
        "texts": texts_hash(prompt.text for prompt in prompts),
        "device": device_name(),
    }
    rows = list(earlier("toolkits", what).get("rows", []))
    for toolkit in arguments.toolkits:
        version = _version(toolkit)
        if version is None:
            print(f"Left out: {toolkit} is not installed; see benchmarks/toolkits.txt.")
            continue
        made_by = {"toolkit": f"{toolkit} {version}", "recipe": recipe(toolkit)}
        known = [row for row in rows if made_by.items() <= row.items()]
        if not known or any("failed" in row for row in known):
            rows = [row for row in rows if row["toolkit"] != made_by["toolkit"]]
            rows += [{**made_by, **row} for row in _tried(contest, toolkit, version)]
            write_results("toolkits", {**what, "rows": rows})
    show(rows)


def _tried(contest: "Contest", toolkit: str, version: str) -> list[dict[str, Any]]:
    """A toolkit's rows, the last of which may say how it failed: others are still to come."""
    name, rows = f"{toolkit} {version}", list[dict[str, Any]]()
    try:
        for row in contest.rows(toolkit, version):
            rows.append(row)
    except _FAILURES as error:
        failed = f"PTQ4ADM in the bytes of {toolkit}" if rows else name
        print(f"{failed} failed: {error!r}")
        rows.append({"name": failed, "failed": repr(error)})
    return rows


def recipe(toolkit: str) -> str:
    """Hash of the function that calls a toolkit, and for which layers: its rows are of that.

    What the function calls in its turn is not looked at: move the rows away after changing that.
    """
    called = onnx_denoiser if toolkit == ONNX else TOOLKITS[toolkit]
    return hashlib.sha256(f"{inspect.getsource(called)}{ENDS}".encode()).hexdigest()[:8]


def _version(toolkit: str) -> str | None:
    try:
        return metadata.version(toolkit)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a toolkit makes of the denoiser.

    Attributes:
        adm: The model with that denoiser.
        digest: Of all that it computes with.
        size_bytes: Of the denoiser.
        layers: How many of each kind it quantizes.
        does: What it does to them.
    """

    adm: AudioLDM
    digest: str
    size_bytes: int
    layers: str
    does: str


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
        made = self._by_onnx() if toolkit == ONNX else self._by_weights(toolkit)
        bank = self.bench.bank(f"{toolkit}-{made.digest[:8]}", made.adm)
        yield {
            "name": f"{toolkit} {version}",
            "does": made.does,
            "denoiser_bytes": made.size_bytes,
            "layers": made.layers,
            **self._scores(bank),
        }
        executes = toolkit == ONNX
        found = self.allocation(made.size_bytes, allocator_of(self.adm, dynamic=not executes))
        config = denoiser_alone(found, activations=executes)
        plan = resolve_plan(config, layers_of(self.adm))
        ours = self.bench.bank(self.bench.clips_name(plan), self.bench.quantized_by(config))
        change = self._scores(ours, bank)
        yield {
            "name": f"PTQ4ADM in the bytes of {toolkit}",
            "denoiser_bytes": denoiser_bytes(self.adm, found.plan),
            "layers": self._counted({spec.name for spec in plan.quantized}),
            "plan": plan.sha256,
            **self._scores(ours),
            "against_toolkit": {key: change[key] for key in _AGAINST if key in change},
        }

    def _by_weights(self, toolkit: str) -> Made:
        states = self.bench.calibration.sets[Purpose.STATISTICS]
        stored = stored_by(toolkit, self.adm.unet, next(calls_of(self.adm, states)))
        other = copy.copy(self.adm)
        other.unet = with_weights(self.adm.unet, stored.weights)
        return Made(
            adm=other,
            digest=digest_of(other),
            size_bytes=stored.size_bytes,
            layers=self._counted({f"{DENOISER}.{name}" for name in stored.weights}),
            does=str(TOOLKITS[toolkit].__doc__),
        )

    def _by_onnx(self) -> Made:
        states = self.bench.calibration.sets[Purpose.STATISTICS]
        calibration = self.bench.calibration.manifest.sha256[:8]
        made_of = metadata.version(ONNX), calibration, recipe(ONNX)
        folder = CACHE / self.adm.source_hash[:12] / "-".join((ONNX, *made_of))
        other = copy.copy(self.adm)
        other.unet = onnx_denoiser(self.adm, states, folder)
        return Made(
            adm=other,
            digest=hashlib.sha256(other.unet.path.read_bytes()).hexdigest(),
            size_bytes=other.unet.size_bytes,
            layers=counts(*other.unet.quantized()),
            does="8-bit weights and activations, static, executed as integers.",
        )

    def _layers(self) -> Sequence[LayerInfo]:
        return layers_of(self.adm)

    def _counted(self, names: Set[str]) -> str:
        kinds = [info.kind is LayerKind.LINEAR for info in self._layers() if info.name in names]
        return counts(kinds.count(True), kinds.count(False))

    def allocation(self, size: int, allocator: Allocator) -> Allocation:
        """PTQ4ADM's plan whose denoiser takes no more bytes than that, or as many as it can use."""
        layers = self._layers()
        base = allocator.base
        others = base.size_bytes(layers) - base.size_bytes(layers, DENOISER)
        room = size - bytes_beside(self.adm, layers) + others
        return allocator(min(room, allocator.limits()[1]), "equal-bytes")

    def _scores(self, quantized: ClipBank, base: ClipBank | None = None) -> dict[str, Any]:
        """Scores against full precision, or against another bank."""
        full, second = self.bench.bank("fp", self.adm), self.bench.bank("fp", self.adm, 1)
        return self.bench.scores(base or full, second, quantized)


def denoiser_alone(found: Allocation, *, activations: bool) -> QuantConfig:
    """The plan of a denoiser, or of its weights alone; everything else in floating point."""

    def scheme_of(rule: QuantRule) -> LayerScheme:
        if not rule.pattern.startswith(f"{DENOISER}."):
            return LayerScheme()
        return rule.scheme if activations else replace(rule.scheme, activation=None)

    rules = tuple(replace(rule, scheme=scheme_of(rule)) for rule in found.config().rules)
    return QuantConfig(name="denoiser-alone", rules=rules)


def counts(linear: int, convolutions: int) -> str:
    """How many layers of each kind."""
    return f"{linear} linear, {convolutions} conv"


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table."""
    header = ("denoiser by", "bytes", "layers", "FD increase", "95 % interval", "verdict")
    cells = [
        (
            row["name"],
            megabytes(row["denoiser_bytes"]),
            row["layers"],
            *fd_cells(row),
            row.get("verdict", "n/a"),
            number(row["latent_sqnr_db"], 1, " dB"),
            number(row["divergence_index"], 3),
            *fd_cells(row.get("against_toolkit", {})),
        )
        for row in rows
        if "failed" not in row
    ]
    paired = ("FD against the toolkit", "interval")
    print(table((*header, "latent SQNR", "divergence index", *paired), cells))
    show_notes(rows)
    for row in rows:
        if "failed" in row or "does" in row:
            print(f"{row['name']}: {row.get('failed', row.get('does'))}")


if __name__ == "__main__":
    main()
