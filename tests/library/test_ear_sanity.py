"""T1 to T10: what an embedding must hear before a Fréchet distance on it means anything."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from assets.recipe import sanity
from assets.recipe.contrast import Swap
from assets.recipe.corpus import CorpusClip
from assets.recipe.degradations import Degradation
from ptq.metrics.embed.logmel import LogMel128
from ptq.metrics.embed.mini import Mini128
from ptq.metrics.frechet import ReferenceBank, frechet_distance, noise_floor
from ptq.metrics.probabilities import inception_score

N_CLIPS = 160
SHORT_S = 2.56
Clips = list[NDArray[np.float32]]
Curves = dict[str, dict[Degradation, sanity.Curve]]


@pytest.fixture(scope="module")
def ear() -> Mini128:
    return Mini128.load()


@pytest.fixture(scope="module")
def scenes() -> list[CorpusClip]:
    return sanity.unheard_clips(N_CLIPS, SHORT_S)


@pytest.fixture(scope="module")
def clips(scenes: list[CorpusClip]) -> Clips:
    return [clip.samples for clip in scenes]


@pytest.fixture(scope="module")
def reference() -> Clips:
    return [clip.samples for clip in sanity.reference_clips(N_CLIPS, SHORT_S)]


@pytest.fixture(scope="module")
def bank(ear: Mini128, clips: Clips) -> ReferenceBank:
    return ReferenceBank.from_embeddings(ear.embed(clips))


@pytest.fixture(scope="module")
def curves(ear: Mini128, clips: Clips, reference: Clips) -> Curves:
    return sanity.curves([ear, LogMel128()], clips, reference)


def test_t1_a_set_is_at_no_distance_from_itself(bank: ReferenceBank) -> None:
    assert frechet_distance(bank, bank) < 1e-9 * sanity.trace(bank)


@pytest.mark.parametrize("gain_db", [-12.0, 12.0])
def test_t2_gain_is_not_heard(
    ear: Mini128, clips: Clips, bank: ReferenceBank, gain_db: float
) -> None:
    louder = ear.embed([clip * np.float32(10 ** (gain_db / 20)) for clip in clips])
    assert frechet_distance(bank, louder) < 1e-6 * sanity.trace(bank)


def test_t2_polarity_and_a_small_shift_are_not_heard(
    ear: Mini128, clips: Clips, bank: ReferenceBank
) -> None:
    for same in ([-clip for clip in clips], [np.roll(clip, 160) for clip in clips]):
        assert frechet_distance(bank, ear.embed(same)) < 0.01 * sanity.trace(bank)


@pytest.mark.parametrize("kind", sanity.GRID)
def test_t3_worse_is_further_from_the_same_clips(curves: Curves, kind: Degradation) -> None:
    paired = curves["mini128"][kind].paired
    assert (np.diff(paired) > 0.0).all(), paired


def test_t4_worse_is_further_from_other_clips(curves: Curves) -> None:
    orders = [
        spearmanr(range(len(curve.unpaired)), curve.unpaired).statistic
        for curve in curves["mini128"].values()
    ]
    assert np.mean(orders) >= 0.9


@pytest.mark.parametrize("kind", sanity.DETECTION_LIMITS)
def test_t5_faint_degradations_are_detected(ear: Mini128, clips: Clips, kind: Degradation) -> None:
    found = sanity.detection(ear, clips, kind)
    assert found.distance > found.limit


def test_t6_families_lie_apart(ear: Mini128) -> None:
    first, second = (
        ReferenceBank.from_embeddings(ear.embed(sanity.family_clips(families, N_CLIPS, SHORT_S)))
        for families in sanity.FAMILIES
    )
    floor = noise_floor(first.eigenvalues(), first.n, second.n)
    assert frechet_distance(first, second) > 10 * floor


def test_t6_the_loudest_class_is_in_the_clip(ear: Mini128, scenes: list[CorpusClip]) -> None:
    assert sanity.top1_in_labels(ear, scenes) >= 0.9


def test_t6_captions_fit_their_own_clip(ear: Mini128, scenes: list[CorpusClip]) -> None:
    assert sanity.matched_share(ear, scenes) >= 0.95
    assert sanity.swap_share(ear, scenes, Swap.SOURCE) >= 0.95
    for swap in (Swap.ORDER, Swap.ATTRIBUTE):
        assert sanity.swap_share(ear, scenes, swap) >= 0.8, swap


def test_t7_both_embedders_rank_degradations_alike(curves: Curves) -> None:
    mini, logmel = (
        [value for curve in curves[name].values() for value in curve.paired]
        for name in ("mini128", "logmel128")
    )
    assert kendalltau(mini, logmel).statistic >= 0.7


def test_t8_silence_is_far_away_and_has_one_class(
    ear: Mini128, clips: Clips, bank: ReferenceBank, curves: Curves
) -> None:
    silent = ear.embed([np.zeros_like(clip) for clip in clips])
    worst = curves["mini128"][Degradation.SMEAR].paired[-1]
    assert frechet_distance(bank, silent) / sanity.trace(bank) > worst
    assert inception_score(ear.class_logits(silent)) == pytest.approx(1.0, abs=1e-3)
    assert inception_score(ear.class_logits(ear.embed(clips))) > 5.0


def test_t9_length_matters_little(ear: Mini128) -> None:
    long = [clip.samples for clip in sanity.unheard_clips(N_CLIPS // 2, 2 * SHORT_S)]
    whole = ear.embed(long)
    halves = ear.embed([clip[:40_960] for clip in long])
    severe = ear.embed(sanity.degraded(long, Degradation.NOISE, 0.0))
    assert frechet_distance(whole, halves) < 0.1 * frechet_distance(whole, severe)


def test_t10_a_clip_does_not_depend_on_its_batch(ear: Mini128, clips: Clips) -> None:
    together = ear.embed(clips[:33])
    alone = np.concatenate([ear.embed([clip]) for clip in clips[:33]])
    np.testing.assert_allclose(together, alone, rtol=1e-6, atol=1e-6)
