"""Assembles the report of a study from the files that its stages wrote."""

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
from torch import Tensor

from ptq.adms.base import AudioDiffusionModel
from ptq.adms.registry import lexicon_of
from ptq.affine import sqnr_db
from ptq.banks import Banks, Ear, ear_id, embed_banks
from ptq.calibration.shipped import shipped_calibration
from ptq.checkpoint import packed_bytes
from ptq.clipping import clippings, read_counts
from ptq.errors import LayerError, MetricError
from ptq.layer_spec import DENOISER
from ptq.layers import get_layer, named_tensors
from ptq.metrics import free_running_sqnr_db
from ptq.plan import QuantPlan
from ptq.prompts.coverage import source_coverage
from ptq.quantized_layer import QuantizedLayer
from ptq.report import Report
from ptq.results import (
    AdmRecord,
    CalibrationRecord,
    DenoiserSize,
    FdRecord,
    LayerRecord,
    PairedRecord,
    PairRecord,
    PipelineSize,
    PlanRecord,
    Score,
    SizeRecord,
)
from ptq.scoring import distribution_scores, fd_record, pair_embedding_scores, score_pair
from ptq.shards import stored_bytes
from ptq.stages import (
    FULL,
    PACKED,
    QUANTIZED,
    SECOND,
    StudyContext,
    calibration_folder,
    clip_path,
    final_latents,
    latents_path,
    read_bank,
)
from ptq.study_events import Stage

_VERSIONED = ("torch", "diffusers", "transformers", "numpy", "scipy")


def build_report(
    study: StudyContext, plan: QuantPlan, quantized: AudioDiffusionModel, ear: Ear | str
) -> Report:
    """Score the banks and put everything together.

    Args:
        study: The study, all of whose clips exist.
        plan: What was done.
        quantized: The quantized model.
        ear: The embedder, or the reason why there is none.
    """
    with study.timed(Stage.SCORE):
        found = _score(study, ear)
        study.tell(Stage.SCORE, 1, 1)
    layers = study.layers()
    return Report(
        adm=AdmRecord(id=study.adm.id, family=study.adm.family, source=study.adm.source_hash),
        plan=PlanRecord(
            name=plan.name,
            hash=plan.sha256,
            weight_bits_mean=plan.weight_bits_mean(layers, DENOISER),
        ),
        settings={k: v for k, v in study.config.to_dict().items() if k != "prompts"},
        environment={**environment(), "ear": ear_id(ear)},
        size=size_record(study),
        layers=layer_records(study, quantized, plan),
        paired=_median(found.pairs),
        pairs=found.pairs,
        timings_s=dict(study.timings()),
        calibration=_calibration(study, plan),
        fd=found.fd,
        scores=found.scores,
        notes=(*_calibration_notes(study), *found.notes),
    )


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """Everything that was measured on the clips, and why the rest was not."""

    pairs: tuple[PairRecord, ...]
    fd: FdRecord | None = None
    scores: tuple[Score, ...] = ()
    notes: tuple[str, ...] = ()


def _score(study: StudyContext, ear: Ear | str) -> _Scored:
    banks = Banks(
        prompts=study.config.prompts,
        full=read_bank(study, FULL),
        second=read_bank(study, SECOND),
        quantized=read_bank(study, QUANTIZED),
    )
    pairs = _pairs(study, banks)
    notes = _sqnr_notes(study, pairs)
    rows = banks.finite_rows()
    if len(rows) < len(pairs):
        gone = ", ".join(str(i + 1) for i in range(len(pairs)) if i not in rows)
        notes += (f"Left out of every distance, for a clip that is not finite (NaN): pair {gone}.",)
    if isinstance(ear, str):
        absent = f"fd, text score and embedding metrics are absent: {ear}"
        return _Scored(pairs=pairs, notes=(absent, *notes))
    heard = banks.at(rows)
    try:
        found = embed_banks(ear, heard)
        cosine, divergence = pair_embedding_scores(found)
    except MetricError as error:
        absent = f"fd, text score and embedding metrics are absent: {error}"
        return _Scored(pairs=pairs, notes=(absent, *notes))
    fd, fd_notes = fd_record(ear, heard, found, banks.new_defects())
    scores, score_notes = distribution_scores(ear, heard, found)
    pairs = _with_embeddings(pairs, rows, cosine, divergence)
    return _Scored(pairs=pairs, fd=fd, scores=scores, notes=(*fd_notes, *score_notes, *notes))


def environment() -> dict[str, str]:
    """Versions that a result may depend on."""
    versions = {name: metadata.version(name) for name in _VERSIONED}
    return {"python": platform.python_version(), "machine": platform.machine(), **versions}


def _pairs(study: StudyContext, banks: Banks) -> tuple[PairRecord, ...]:
    return tuple(
        PairRecord(
            prompt=prompt,
            seed=study.config.seed,
            reference=clip_path(FULL, i),
            quantized=clip_path(QUANTIZED, i),
            paired=score_pair(
                banks.full[i],
                banks.quantized[i],
                (final_latents(study.run, FULL, i), final_latents(study.run, QUANTIZED, i)),
            ),
            sqnr_per_step_db=_sqnr_per_step(study, i),
        )
        for i, prompt in enumerate(banks.prompts)
    )


def _sqnr_notes(study: StudyContext, pairs: Sequence[PairRecord]) -> tuple[str, ...]:
    if any(pair.paired.latent_sqnr_db is not None for pair in pairs):
        return ()
    latents = (final_latents(study.run, b, i) for b in (FULL, QUANTIZED) for i in range(len(pairs)))
    if all(np.isfinite(found).all() for found in latents):
        return ("latent_sqnr_db is absent: the latents of every pair are identical.",)
    return ("latent_sqnr_db is absent: no pair has latents that differ and are finite (no NaN).",)


def _sqnr_per_step(study: StudyContext, sample_id: int) -> tuple[float, ...]:
    """Free-running SQNR of the latents after each step; empty where one is not finite."""
    full, quantized = (
        study.run.read_array(latents_path(bank, sample_id)).astype(np.float64)
        for bank in (FULL, QUANTIZED)
    )
    try:
        sqnr = free_running_sqnr_db(full[:, None], quantized[:, None])[:, 0]
    except MetricError:  # NaN on the way
        return ()
    return tuple(round(float(v), 3) for v in sqnr) if np.isfinite(sqnr).all() else ()


def _with_embeddings(
    pairs: Sequence[PairRecord], rows: Sequence[int], cosine: np.ndarray, divergence: np.ndarray
) -> tuple[PairRecord, ...]:
    """The pairs, those at ``rows`` with their figures; a NaN is absent."""
    found = list(pairs)
    for i, own_cosine, own_divergence in zip(rows, cosine, divergence, strict=True):
        paired = replace(
            found[i].paired,
            embedding_cosine=float(own_cosine),
            divergence_index=None if np.isnan(own_divergence) else float(own_divergence),
        )
        found[i] = replace(found[i], paired=paired)
    return tuple(found)


def _median(pairs: Sequence[PairRecord]) -> PairedRecord:
    def median(read: Callable[[PairedRecord], float | None]) -> float | None:
        values = [value for pair in pairs if (value := read(pair.paired)) is not None]
        return float(np.median(values)) if values else None

    return PairedRecord(
        latent_sqnr_db=median(lambda p: p.latent_sqnr_db),
        log_mel_l1_db=median(lambda p: p.log_mel_l1_db),
        lsd_db=median(lambda p: p.lsd_db),
        embedding_cosine=median(lambda p: p.embedding_cosine),
        divergence_index=median(lambda p: p.divergence_index),
    )


def size_record(study: StudyContext) -> SizeRecord:
    """Bytes before and after, of the same parts; after is what lies on disk."""
    counts = {
        part: sum(t.numel() for name, t in named_tensors({part: module}))
        for part, module in study.adm.parts().items()
    }
    total, denoiser = sum(counts.values()), counts[DENOISER]
    folder: Path = study.run.path / PACKED
    packed = packed_bytes(folder)
    owners = stored_bytes(folder).items()
    packed_denoiser = sum(n for owner, n in owners if owner.startswith(f"{DENOISER}."))
    return SizeRecord(
        denoiser=DenoiserSize(
            fp32_bytes=4 * denoiser,
            fp16_bytes=2 * denoiser,
            quantized_bytes=packed_denoiser,
            bits_per_weight=8.0 * packed_denoiser / denoiser,
        ),
        pipeline=PipelineSize(
            fp32_bytes=4 * total,
            fp16_bytes=2 * total,
            quantized_bytes=packed,
            reduction_pct=100.0 * (1.0 - packed / (4 * total)),
        ),
    )


def layer_records(
    study: StudyContext, quantized: AudioDiffusionModel, plan: QuantPlan
) -> tuple[LayerRecord, ...]:
    """What happened to every layer; its bytes are those on disk."""
    kinds = {info.name: info.kind.value for info in study.layers()}
    stored = stored_bytes(study.run.path / PACKED)
    clipped = clippings(read_counts(study.run, QUANTIZED))
    found = []
    for spec in plan.layers:
        sqnr = None
        if spec.scheme.weight is not None:
            weights = (_weight(adm, spec.name) for adm in (study.adm, quantized))
            sqnr = _finite_db(sqnr_db(*weights))
        found.append(
            LayerRecord(
                name=spec.name,
                kind=kinds[spec.name],
                w_bits=spec.scheme.weight_bits,
                a_bits=spec.scheme.activation_bits,
                bytes=stored.get(spec.name, 0),
                executed="float" if spec.scheme.keeps else "simulated",
                sqnr_db=sqnr,
                clipped_pct=clipped[spec.name].share_pct if spec.name in clipped else None,
            )
        )
    return tuple(found)


def _weight(adm: AudioDiffusionModel, name: str) -> Tensor:
    layer = get_layer(adm.parts(), name)
    weight = layer.effective_weight if isinstance(layer, QuantizedLayer) else layer.weight
    if not isinstance(weight, Tensor):
        raise LayerError(f"{name} has no weight tensor; load the model's weights first.")
    return weight


def _finite_db(value: float) -> float | None:
    """Weights that lie on the grid have no error, and so no ratio."""
    return value if math.isfinite(value) else None


def _calibration(study: StudyContext, plan: QuantPlan) -> CalibrationRecord | None:
    folder = calibration_folder(study)
    if not folder.exists():
        return None
    manifest, wanted = folder.manifest(), study.config.calibration
    shipped = shipped_calibration(study.adm, study.settings, wanted, plan)
    found = source_coverage(manifest.prompts, lexicon_of(study.adm.id))
    return CalibrationRecord(
        strategy=manifest.strategy,
        prompts=len(manifest.prompts),
        states=manifest.states,
        manifest=manifest.sha256,
        coverage={**found.shares, **manifest.prompt_coverage, **manifest.coverage},
        taken_over=bool(wanted.reused) or shipped is not None,
    )


def _calibration_notes(study: StudyContext) -> tuple[str, ...]:
    """Why there is no calibration, or in what it differs from how the study samples."""
    folder = calibration_folder(study)
    if not folder.exists():
        return ("calibration is absent: the plan has no static activations.",)
    return folder.mismatches(type(study.adm).__name__, study.settings)
