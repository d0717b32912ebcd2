"""From clips to records: every score of a study, and a reason for each that is missing."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptq.audio import AudioClip
from ptq.banks import Array, Banks, Ear, Embeddings
from ptq.errors import MetricError
from ptq.metrics import (
    Evidence,
    FDIncrease,
    NewDefects,
    PairedBanks,
    Verdict,
    divergence_index,
    embedding_cosine,
    frechet_distance,
    inception_score,
    judge,
    kernel_audio_distance,
    kl_ref_gen,
    log_mel_l1_db,
    lsd_db,
    paired_difference,
    paired_increase,
    sqnr_db,
    top1_agreement,
)
from ptq.metrics.paired_banks import MIN_CLIPS_PER_DIM
from ptq.metrics.projected import projected_increase, resolvable_pct
from ptq.prompts.aspects import families_of
from ptq.results import FdRecord, PairedRecord, Score

_MIN_TEXT_PROMPTS = 8
# What rounding leaves of 1 - cosine between the embeddings of equal clips.
_ALIKE = 1e-12


def _or_none(compute: Callable[[], float]) -> float | None:
    """A paired figure, or nothing where it does not exist: identical or silent clips."""
    try:
        value = compute()
    except MetricError:
        return None
    return value if np.isfinite(value) else None


def score_pair(
    full: AudioClip, quantized: AudioClip, latents: tuple[Array, Array] | None
) -> PairedRecord:
    """Metrics of one pair that need no embedder.

    Args:
        full: The full-precision clip.
        quantized: Its twin.
        latents: Final latents of both, full precision first.
    """
    a, b, rate = full.samples, quantized.samples, full.sample_rate_hz
    return PairedRecord(
        latent_sqnr_db=None if latents is None else _or_none(lambda: sqnr_db(*latents)),
        log_mel_l1_db=_or_none(lambda: log_mel_l1_db(a, b, sample_rate_hz=rate)),
        lsd_db=_or_none(lambda: lsd_db(a, b, sample_rate_hz=rate)),
    )


def pair_embedding_scores(found: Embeddings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Embedding cosine and divergence index of every pair, ``(n,)`` each.

    The index is NaN where both full-precision clips of a prompt are alike: it has no unit there.
    """
    return embedding_scores(found.full, found.second, found.quantized)


def embedding_scores(
    full: NDArray[np.floating], second: NDArray[np.floating], quantized: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same of embeddings alone, ``(n, dim)`` each."""
    cosine = np.asarray(embedding_cosine(full, quantized))
    seed = np.asarray(embedding_cosine(full, second))
    # Rounding puts the cosine of equal clips a hair above 1; a distance is never negative.
    apart, seeds_apart = np.maximum(1.0 - cosine, 0.0), np.maximum(1.0 - seed, 0.0)
    index, has_unit = np.full(len(apart), np.nan), seeds_apart > _ALIKE
    if has_unit.any():
        index[has_unit] = divergence_index(apart[has_unit], seeds_apart[has_unit])
    return cosine, index


def median_of(values: NDArray[np.float64]) -> float:
    """Median of what is not NaN.

    Raises:
        MetricError: All of it is.
    """
    known = values[~np.isnan(values)]
    if not known.size:
        raise MetricError("no prompt has a divergence index: equal seeds gave equal clips.")
    return float(np.median(known))


def text_change_lower_pct(found: Embeddings, clusters: NDArray[np.int64]) -> float | None:
    """95 % lower bound of the relative change of the mean text score, one-sided and paired.

    ``None`` for fewer than eight different prompts, and where the full-precision mean is not
    positive: there is nothing that a share could be taken of.

    Args:
        found: With the text scores of both banks.
        clusters: Number of every clip's prompt.
    """
    rows = np.bincount(clusters)
    full = np.bincount(clusters, found.text_full) / rows
    quantized = np.bincount(clusters, found.text_quantized) / rows
    n, base = len(full), float(np.mean(full))
    if n < _MIN_TEXT_PROMPTS or base <= 0.0:
        return None
    change = 100.0 * (quantized - full) / base
    error = float(np.std(change, ddof=1)) / float(np.sqrt(n))
    student = float(stats.t.ppf(0.95, n - 1))
    return float(np.mean(change)) - student * error


def distribution_scores(
    ear: Ear, banks: Banks, found: Embeddings
) -> tuple[tuple[Score, ...], tuple[str, ...]]:
    """KAD, KL and agreement against full precision, IS and text score of both banks.

    Notes say what is absent.
    """
    full, quantized = (ear.class_logits(rows) for rows in (found.full, found.quantized))

    def kad() -> float:
        return kernel_audio_distance(found.full, found.quantized, paired=True)

    entries: list[tuple[str, Callable[[], float], str, bool]] = [
        ("kad", kad, "×100", False),
        ("kl_ref_gen", lambda: kl_ref_gen(full, quantized), "nat", False),
        ("top1_agreement", lambda: top1_agreement(full, quantized), "share", True),
        ("is_full_precision", lambda: inception_score(full), "classes", True),
        ("is_quantized", lambda: inception_score(quantized), "classes", True),
        ("text_score_full_precision", lambda: float(np.mean(found.text_full)), "cosine", True),
        ("text_score_quantized", lambda: float(np.mean(found.text_quantized)), "cosine", True),
    ]
    scores, notes = list[Score](), list[str]()
    for name, compute, unit, up in entries:
        named = f"{name}_{ear.id}"
        try:
            value, n = compute(), len(banks.prompts)
            scores.append(Score(name=named, value=value, unit=unit, higher_is_better=up, n=n))
        except MetricError as error:
            notes.append(f"{named} is absent: {error}")
    return tuple(scores), tuple(notes)


def family_increases(ear: Ear, banks: Banks, found: Embeddings) -> dict[str, float | None]:
    """FD increase of the clips whose prompts name each family, against its part of the reference.

    ``None`` where there are too few such clips.
    """
    named = [families_of(prompt) for prompt in banks.prompts]
    clusters = _codes(banks.prompts)
    found_pct: dict[str, float | None] = {}
    for family, bank in ear.families.items():
        rows = np.array([family in families for families in named])
        try:
            increase = projected_increase(
                bank, found.full[rows], found.quantized[rows], clusters=clusters[rows]
            )
            found_pct[family] = resolvable_pct(increase)
        except MetricError:
            found_pct[family] = None
    return found_pct


def fd_record(
    ear: Ear, banks: Banks, found: Embeddings, defects: NewDefects
) -> tuple[FdRecord | None, tuple[str, ...]]:
    """Fréchet distances, their interval and the verdict; notes say what is absent and why.

    Args:
        ear: Holds the reference.
        banks: The clips that have embeddings.
        found: Those embeddings.
        defects: Of all clips, those without embeddings included.
    """
    clusters = _codes(banks.prompts)
    try:
        paired = PairedBanks(
            reference=ear.bank,
            full_precision=found.full,
            quantized=found.quantized,
            clusters=clusters,
        )
        increase = paired_increase(paired)
        bound = _self_distance_bound(found, clusters)
    except MetricError as error:
        return None, (f"fd is absent: {error}",)
    families = family_increases(ear, banks, found)
    # Clips of one prompt are alike: what they are enough for, prompts decide.
    prompts = len(np.unique(clusters))
    if prompts < MIN_CLIPS_PER_DIM * increase.dim:
        increase = replace(increase, ci95_pct=None, upper95_pct=None)
    evidence = Evidence(
        n=prompts,
        dim=increase.dim,
        lower95_pct=None if increase.ci95_pct is None else increase.ci95_pct[0],
        upper95_pct=increase.upper95_pct,
        self_fd_upper_pct=None if bound is None else 100.0 * bound / increase.full_precision,
        text_score_lower_pct=text_change_lower_pct(found, clusters),
        divergence_index=_or_none(lambda: median_of(pair_embedding_scores(found)[1])),
        new_silent=defects.silent,
        new_clipped=defects.clipped,
        new_nan=defects.nan,
        family_increase_pct=families if any(v is not None for v in families.values()) else {},
    )
    judgement = judge(evidence)
    record = _record(ear, found, increase, judgement.verdict)
    return record, (*increase.notes, *judgement.reasons)


def _record(ear: Ear, found: Embeddings, increase: FDIncrease, verdict: Verdict) -> FdRecord:
    return FdRecord(
        embedder=ear.id,
        estimator=increase.estimator.value,
        n=increase.n,
        n_ref=increase.n_reference,
        dim=increase.dim,
        full_precision=increase.full_precision,
        quantized=increase.quantized,
        quantized_vs_full=frechet_distance(found.full, found.quantized),
        verdict=verdict.value,
        increase_pct=increase.increase_pct,
        ci95_pct=increase.ci95_pct,
        upper95_pct=increase.upper95_pct,
        noise_floor=increase.noise_floor,
    )


def _codes(prompts: Sequence[str]) -> NDArray[np.int64]:
    """A number for every prompt, the same where it is repeated."""
    return np.unique(np.array(prompts), return_inverse=True)[1].astype(np.int64)


def _self_distance_bound(found: Embeddings, clusters: NDArray[np.int64]) -> float | None:
    """Upper bound of FD(quantized, second seed) − FD(full, second seed)."""
    return paired_difference(
        PairedBanks(
            reference=found.second,
            full_precision=found.full,
            quantized=found.quantized,
            clusters=clusters,
            reference_clusters=clusters,
        )
    ).upper95
