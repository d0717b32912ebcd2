"""Every preset on the embedded voice: size, Fréchet distance with interval and verdict, pairs.

``python -m benchmarks.presets [--pairs 512] [--presets w8a8 ptq4adm …] [--ship]``

Clips are kept under ``runs/benchmarks``, and every finished preset is written at once: an
interrupted run resumes, also where only the results are left. ``--ship`` also writes the scores
that the page shows.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from assets.recipe.gallery import calibrate, default_calibration, made_of, plan_of, quantized_copy
from benchmarks.clips import SETTINGS, ClipBank
from benchmarks.records import earlier, write_results
from benchmarks.sizes import size_of, values_of
from ptq.adms.base import AudioDiffusionModel
from ptq.adms.loading import load_adm
from ptq.adms.placed import accelerator, device_name
from ptq.adms.registry import ADMS_FOLDER, find_adm
from ptq.audio import AudioClip
from ptq.banks import Banks, embed_banks
from ptq.calibration.calibrator import Calibration
from ptq.config import QuantConfig
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.metrics.levels import clip_flags, rms_db
from ptq.plan import QuantPlan
from ptq.presets import PRESETS
from ptq.prompts.grammar import Prompt
from ptq.prompts.suites import Suite, draw_suite
from ptq.report_markdown import megabytes, number, table
from ptq.scheme import Rounding
from ptq.scoring import family_increases, fd_record, median_of, pair_embedding_scores, score_pair
from ptq.study_config import CalibrationSettings

SCORES = ADMS_FOLDER.parent / "scores"
SEED = 100
_DIGITAL_SILENCE_DB = -200.0  # JSON knows no infinity
_LEARNT = (Rounding.ADAROUND, Rounding.BRECQ)
HEADER = (
    "preset",
    "size",
    "below fp32",
    "below fp16",
    "FD increase",
    "95 % interval",
    "verdict",
    "latent SQNR",
    "divergence index",
)


def main() -> None:
    """Generate, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--ship", action="store_true")
    arguments = parser.parse_args()
    adm, ear = load_adm(find_adm("mini-audioldm")), find_ear()
    if not isinstance(ear, Ear):
        raise SystemExit(f"The presets are scored with the shipped ear: {ear}")
    prompts = draw_suite(Suite.FINAL, arguments.pairs, SEED)
    bench = PlanBench(adm=adm, ear=ear, prompts=prompts, configs=PRESETS)
    what = {
        "adm": adm.id,
        "model": adm.source_hash,
        "embedder": ear.id,
        "ear": ear.sha256,
        "n": arguments.pairs,
        "settings": {**asdict(SETTINGS), "seed": SEED},
        "prompts": [prompt.text for prompt in prompts],
        "device": device_name(),
    }
    rows = finished_rows("presets", what, bench)
    for name in arguments.presets:
        if name not in rows:
            rows[name] = bench.row(name)
            write_results("presets", _scores(what, rows))
    scores = _scores(what, rows)
    path = write_results("presets", scores)
    if arguments.ship:
        SCORES.mkdir(exist_ok=True)
        (SCORES / f"{adm.id}.json").write_text(json.dumps(scores, indent=1) + "\n")
    print(table(HEADER, [cells(row) for row in scores["presets"]]))
    show_notes(scores["presets"])
    print(path)


def finished_rows(
    results: str, what: Mapping[str, Any], bench: "PlanBench"
) -> dict[str, dict[str, Any]]:
    """Rows of an earlier run of the same model, ear, prompts, settings and plans, by name.

    Args:
        results: Name of the file of results, without its ending.
        what: All but the rows.
        bench: Knows the plans.
    """
    return {
        row["name"]: row
        for row in earlier(results, what).get("presets", [])
        if row["name"] in bench.configs
        and bench.identity(bench.plan(row["name"])).items() <= row.items()
    }


def _scores(what: Mapping[str, Any], rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    ordered = [rows[name] for name in PRESETS if name in rows]
    return {**what, "noise_floor": ordered[0]["noise_floor"], "presets": ordered}


@dataclass(frozen=True, kw_only=True)
class PlanBench:
    """What every plan is scored with.

    Attributes:
        adm: The full-precision model.
        ear: Hears clips.
        prompts: What is generated.
        configs: Plans as rules, by name.
        seed: Of the noise; the second bank's is one more.
        wanted: The calibration, which serves every plan that balances no channels.
    """

    adm: AudioDiffusionModel
    ear: Ear
    prompts: Sequence[Prompt]
    configs: Mapping[str, QuantConfig]
    seed: int = SEED
    wanted: CalibrationSettings = field(default_factory=CalibrationSettings)

    @cached_property
    def calibration(self) -> Calibration:
        """What was wanted, as it ships where it does."""
        if self.wanted == CalibrationSettings():
            return default_calibration(self.adm, SETTINGS)
        return calibrate(self.adm, SETTINGS, self.wanted)

    def plan(self, name: str) -> QuantPlan:
        """Rules met with the model's layers."""
        return plan_of(self.adm, self.configs[name])

    def identity(self, plan: QuantPlan) -> dict[str, str]:
        """What a plan's clips depend on: itself, and its calibration where it needs one."""
        return made_of(plan, self.calibration.manifest)

    def clips_name(self, plan: QuantPlan) -> str:
        """What the clips of a plan are called."""
        return "-".join(("plan", *(digest[:8] for digest in self.identity(plan).values())))

    def bank(self, name: str, adm: AudioDiffusionModel, offset: int = 0) -> ClipBank:
        """The clips of one model; with an offset, from other noise."""
        texts = tuple(prompt.text for prompt in self.prompts)
        return ClipBank(name=name, adm=adm, prompts=texts, seed=self.seed + offset)

    def row(self, name: str) -> dict[str, Any]:
        """Every figure of one plan."""
        plan = self.plan(name)
        full, second = self.bank("fp", self.adm), self.bank("fp", self.adm, 1)
        copy = self.adm if name == "fp" else self.quantized(name)
        quantized = full if name == "fp" else self.bank(self.clips_name(plan), copy)
        return {
            "name": name,
            **self.identity(plan),
            **size_of(copy, plan, values_of(self.adm)),
            **self.scores(full, second, quantized),
        }

    def quantized(self, name: str) -> AudioDiffusionModel:
        """The model at one plan."""
        return self.quantized_by(self.configs[name])

    def quantized_by(self, config: QuantConfig) -> AudioDiffusionModel:
        """The model quantized by any rules."""
        weights = (rule.scheme.weight for rule in config.rules)
        learns = any(weight is not None and weight.rounding in _LEARNT for weight in weights)
        if learns:  # which takes minutes on a CPU; everything else is at home there
            return quantized_copy(self.adm, config, self.calibration, accelerator())
        return quantized_copy(self.adm, config, self.calibration)

    def scores(self, full: ClipBank, second: ClipBank, quantized: ClipBank) -> dict[str, Any]:
        """Distances, verdict and medians over pairs."""
        # First those that nobody else makes: another process may be at the others meanwhile.
        made = tuple(quantized.clips())
        banks = Banks(
            prompts=full.prompts,
            full=tuple(full.clips()),
            second=tuple(second.clips()),
            quantized=made,
        )
        heard = banks.at(banks.finite_rows())
        found = embed_banks(self.ear, heard)
        record, notes = fd_record(self.ear, heard, found, banks.new_defects())
        latents = zip(full.latents(), quantized.latents(), strict=True)
        pairs = [
            score_pair(a, b, both)
            for a, b, both in zip(banks.full, banks.quantized, latents, strict=True)
        ]
        return {
            "device": device_name(),
            "latent_sqnr_db": _median([p.latent_sqnr_db for p in pairs]),
            "log_mel_l1_db": _median([p.log_mel_l1_db for p in pairs]),
            "divergence_index": median_of(pair_embedding_scores(found)[1]),
            "family_increase_pct": family_increases(self.ear, heard, found),
            "newly_silent_db": newly_silent(heard.full, heard.quantized),
            "notes": list(notes),
            **({} if record is None else asdict(record)),
        }


def newly_silent(full: Iterable[AudioClip], quantized: Iterable[AudioClip]) -> list[list[float]]:
    """Levels of the pairs that only quantization made silent, in dB re full scale.

    The gate counts them; whether a clip fell silent or lay at the limit is for the reader.
    """
    pairs = ((a.samples, b.samples) for a, b in zip(full, quantized, strict=True))
    fallen = ((a, b) for a, b in pairs if clip_flags(b).silent and not clip_flags(a).silent)
    return [[max(rms_db(samples), _DIGITAL_SILENCE_DB) for samples in pair] for pair in fallen]


def _median(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.median(found)) if found else None


def fd_cells(row: Mapping[str, Any]) -> tuple[str, str]:
    """By how much the distance rose, and between which bounds."""
    if row.get("ci95_pct") is None:
        return "n/a", "n/a"
    low, high = (round(bound, 1) + 0.0 for bound in row["ci95_pct"])  # no minus before a zero
    return f"{row['increase_pct']:.2f} %", f"{low:+.1f} … {high:+.1f} %"


def show_notes(rows: Sequence[Mapping[str, Any]], key: str = "name") -> None:
    """Print why verdicts are no better, by what the rows are called."""
    for row in rows:
        for note in row.get("notes", ()):
            print(f"{row[key]}: {note}")
        for before, after in row.get("newly_silent_db", ()):
            print(f"{row[key]}: a clip fell from {before:.1f} to {after:.1f} dB.")


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    return (
        row["name"],
        megabytes(row["size_bytes"]),
        number(row["reduction_pct"], 1, " %"),
        number(row["reduction_fp16_pct"], 1, " %"),
        *fd_cells(row),
        row.get("verdict", "n/a"),
        number(row["latent_sqnr_db"], 1, " dB"),
        number(row["divergence_index"], 3),
    )


if __name__ == "__main__":
    main()
