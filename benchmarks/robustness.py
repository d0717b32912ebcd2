"""Does a quantized model hold where it was not calibrated? ``python -m benchmarks.robustness``.

Unusual prompts slice by slice, other guidance and step counts, and longer clips: each against full
precision with the same prompt, noise and settings, and each beside the calibrated condition.
Finished conditions are kept: an interrupted run resumes.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.recipe.gallery import default_calibration, plan_of, quantized_copy
from benchmarks.clips import SETTINGS, ClipBank
from benchmarks.records import earlier, write_results
from ptq.adms.base import AudioDiffusionModel
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm, lexicon_of
from ptq.adms.sampling import SamplingSettings
from ptq.adms.tiling import TiledModel
from ptq.calibration.calibrator import Calibration
from ptq.errors import MetricError
from ptq.metrics import rms_db, sqnr_db
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.presets import preset
from ptq.prompts.slices import each_slice
from ptq.prompts.suites import Suite, draw_suite
from ptq.report_markdown import table
from ptq.scoring import score_pair

PRESETS = ("w8a8", "ptq4adm")
CALIBRATED = "as calibrated"
_SEED = 300
_LONG_PROMPTS = 8
_THIRDS = 3
_TILED_S = 30.72
_TINY = 1e-9


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What is asked of the models."""

    name: str
    prompts: tuple[str, ...]
    settings: SamplingSettings = SETTINGS

    @property
    def is_tiled(self) -> bool:
        """Whether clips are longer than the denoiser takes at once."""
        return self.settings.seconds > 2 * SETTINGS.seconds


def conditions(count: int, adm_id: str) -> Iterator[Condition]:
    """The calibrated condition, and every way of leaving it."""
    lexicon = lexicon_of(adm_id)
    usual = tuple(p.text for p in draw_suite(Suite.FINAL, count, _SEED, lexicon))
    yield Condition(name=CALIBRATED, prompts=usual)
    for kind, prompts in each_slice(count, _SEED, lexicon):
        yield Condition(name=kind.value, prompts=tuple(prompt.text for prompt in prompts))
    for guidance in (1.0, 5.0, 7.5):
        settings = replace(SETTINGS, guidance=guidance)
        yield Condition(name=f"guidance {guidance:g}", prompts=usual, settings=settings)
    for steps in (10, 50):
        settings = replace(SETTINGS, steps=steps)
        yield Condition(name=f"{steps} steps", prompts=usual, settings=settings)
    long = tuple(p.text for p in draw_suite(Suite.LONG_FORM, _LONG_PROMPTS, _SEED, lexicon))
    for seconds in (2 * SETTINGS.seconds, _TILED_S):
        settings = replace(SETTINGS, seconds=seconds)
        yield Condition(name=f"{seconds:.2f} s", prompts=long, settings=settings)


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--adm", default="mini-audioldm")
    arguments = parser.parse_args()
    adm, ear = load_adm(find_adm(arguments.adm)), find_ear()
    if not isinstance(ear, Ear):
        raise SystemExit(f"Divergence is heard with the shipped ear: {ear}")
    bench = RobustnessBench(adm=adm, ear=ear)
    plans = {name: plan_of(adm, preset(name)).sha256 for name in PRESETS}
    what = {
        **{"adm": adm.id, "model": adm.source_hash, "ear": ear.sha256, "plans": plans},
        **{"prompts": arguments.prompts, "seed": _SEED},
        "calibration": bench.calibration.manifest.sha256,
    }
    rows = list(earlier("robustness", what).get("rows", []))
    for condition in conditions(arguments.prompts, adm.id):
        if not any(row["condition"] == condition.name for row in rows):
            rows += bench.rows(condition)
            write_results("robustness", {**what, "rows": rows})
    path = write_results("robustness", {**what, "rows": rows})
    show(rows)
    print(path)


@dataclass(frozen=True, kw_only=True)
class RobustnessBench:
    """What every condition is measured with."""

    adm: AudioDiffusionModel
    ear: Ear

    @cached_property
    def calibration(self) -> Calibration:
        """One calibration, at the settings that conditions leave."""
        return default_calibration(self.adm, SETTINGS)

    @cached_property
    def quantized(self) -> dict[str, AudioDiffusionModel]:
        """The models by preset."""
        return {name: quantized_copy(self.adm, preset(name), self.calibration) for name in PRESETS}

    def rows(self, condition: Condition) -> list[dict[str, Any]]:
        """Figures of every preset under one condition."""
        full = self._bank("fp", self.adm, condition, _SEED)
        second = self._bank("fp", self.adm, condition, _SEED + 1)
        gaps = self._gaps(full.samples(), second.samples())
        return [
            {
                "condition": condition.name,
                "preset": name,
                **self._figures(full, self._bank(name, model, condition, _SEED), gaps),
            }
            for name, model in self.quantized.items()
        ]

    def _bank(
        self, name: str, adm: AudioDiffusionModel, condition: Condition, seed: int
    ) -> ClipBank:
        digests = (plan_of(self.adm, preset(name)).sha256, self.calibration.manifest.sha256)
        plan = "" if name == "fp" else "".join(f"-{digest[:8]}" for digest in digests)
        tiled = TiledModel(adm, SETTINGS.seconds) if condition.is_tiled else adm
        return ClipBank(
            name=f"robust-{name}{plan}",
            adm=tiled,
            prompts=condition.prompts,
            seed=seed,
            settings=condition.settings,
        )

    def _gaps(
        self, first: Sequence[NDArray[np.float32]], second: Sequence[NDArray[np.float32]]
    ) -> NDArray[np.float64]:
        """1 − cosine of each pair's embeddings, what the divergence index is a ratio of."""
        a, b = (self.ear.embed(clips).astype(np.float64) for clips in (first, second))
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return np.asarray(1.0 - (a * b).sum(axis=1) / np.maximum(norms, _TINY))

    def _figures(
        self, full: ClipBank, quantized: ClipBank, gaps: NDArray[np.float64]
    ) -> dict[str, Any]:
        clips = list(zip(full.clips(), quantized.clips(), strict=True))
        latents = list(zip(full.latents(), quantized.latents(), strict=True))
        pairs = [score_pair(a, b, both) for (a, b), both in zip(clips, latents, strict=True)]
        # Equal clips of two seeds give no unit, and a clip without sound has no place.
        told = (gaps > _TINY) & [bool(np.isfinite(b.samples).all()) for _, b in clips]
        heard = [pair for pair, has_place in zip(clips, told, strict=True) if has_place]
        apart = self._gaps([a.samples for a, _ in heard], [b.samples for _, b in heard])
        divergence = apart / gaps[told]
        pieces = [zip(*(_thirds(z, axis=1) for z in both), strict=True) for both in latents]
        thirds = [[_sqnr_db(x, y) for x, y in row] for row in pieces]
        drifts = [_drift_db(b.samples) - _drift_db(a.samples) for a, b in clips]
        return {
            "n": len(pairs),
            "latent_sqnr_db": _summary([p.latent_sqnr_db for p in pairs]),
            "log_mel_l1_db": _summary([p.log_mel_l1_db for p in pairs]),
            "divergence_index": _summary(divergence.tolist()),
            "sqnr_by_third_db": [_summary(column) for column in zip(*thirds, strict=True)],
            "level_drift_db": _summary(drifts),
        }


def _sqnr_db(reference: NDArray[np.float32], estimate: NDArray[np.float32]) -> float | None:
    try:
        return sqnr_db(reference, estimate)
    except MetricError:
        return None


def _thirds(values: NDArray[np.float32], axis: int) -> list[NDArray[np.float32]]:
    return np.array_split(values, _THIRDS, axis=axis)


def _drift_db(samples: NDArray[np.float32]) -> float:
    """How much louder a clip ends than it begins; NaN where either is silent."""
    first, *_, last = (rms_db(part) for part in _thirds(samples, axis=0))
    return last - first if np.isfinite([first, last]).all() else float("nan")


def _summary(values: Sequence[float | None]) -> dict[str, float] | None:
    """Median and quartiles of what there is."""
    found = np.array([v for v in values if v is not None and np.isfinite(v)])
    if not len(found):
        return None
    low, middle, high = np.percentile(found, [25, 50, 75])
    return {"median": float(middle), "low": float(low), "high": float(high), "n": len(found)}


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table, each figure beside that of the calibrated condition."""
    base = {row["preset"]: row for row in rows if row["condition"] == CALIBRATED}
    cells = [
        (
            row["condition"],
            row["preset"],
            _cell(row, base[row["preset"]], "latent_sqnr_db", " dB"),
            _cell(row, base[row["preset"]], "log_mel_l1_db", " dB"),
            _cell(row, base[row["preset"]], "divergence_index", ""),
        )
        for row in rows
    ]
    print(table(("condition", "preset", "latent SQNR", "log-mel gap", "divergence"), cells))


def _cell(row: Mapping[str, Any], base: Mapping[str, Any], key: str, unit: str) -> str:
    found, usual = row[key], base[key]
    if found is None or usual is None:
        return "n/a"
    return f"{found['median']:.2f}{unit} ({found['median'] - usual['median']:+.2f})"


if __name__ == "__main__":
    main()
