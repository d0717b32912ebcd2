"""Scores of a study: which figures exist for how many clips, and why not the rest."""

from dataclasses import replace

import numpy as np
import pytest

from ptq.banks import Banks, Ear, ear_id, embed_banks
from ptq.errors import MetricError
from ptq.scoring import (
    distribution_scores,
    fd_record,
    median_of,
    pair_embedding_scores,
    score_pair,
    text_change_lower_pct,
)
from tests.band_ear import BandEar, noise_clips


@pytest.fixture(scope="module")
def ear() -> Ear:
    return BandEar()


def banks(n: int, noise: float) -> Banks:
    return Banks(
        prompts=tuple(f"prompt {i}" for i in range(n)),
        full=noise_clips(n, 1),
        second=noise_clips(n, 2),
        quantized=noise_clips(n, 1, noise),
    )


def test_enough_clips_give_an_interval_and_a_verdict(ear: Ear) -> None:
    heard = banks(200, 0.2)
    record, notes = fd_record(ear, heard, embed_banks(ear, heard), heard.new_defects())
    assert record is not None
    assert (record.embedder, record.estimator) == ("bands4", "split-half")
    assert (record.n, record.n_ref, record.dim) == (200, 800, 4)
    assert record.verdict == "inferior"
    assert record.increase_pct is not None
    assert record.ci95_pct is not None
    assert record.ci95_pct[0] < record.increase_pct < record.ci95_pct[1]
    assert notes


def test_many_clips_of_few_prompts_are_too_few_for_an_interval(ear: Ear) -> None:
    heard = replace(banks(200, 0.2), prompts=tuple(f"prompt {i % 15}" for i in range(200)))
    record, notes = fd_record(ear, heard, embed_banks(ear, heard), heard.new_defects())
    assert record is not None
    assert record.n == 200
    assert record.ci95_pct is None
    assert record.verdict == "not resolved"
    assert "15 prompts are fewer than 4 × 4" in " ".join(notes)


def test_too_few_clips_give_a_plug_in_distance_and_no_verdict(ear: Ear) -> None:
    heard = banks(8, 0.2)
    record, notes = fd_record(ear, heard, embed_banks(ear, heard), heard.new_defects())
    assert record is not None
    assert (record.estimator, record.verdict) == ("plug-in", "not resolved")
    assert record.ci95_pct is None
    assert record.upper95_pct is None
    assert any("FD is plug-in" in note for note in notes)


def test_hardly_any_clips_give_a_reason_instead(ear: Ear) -> None:
    heard = banks(3, 0.2)
    record, notes = fd_record(ear, heard, embed_banks(ear, heard), heard.new_defects())
    assert record is None
    assert notes == ("fd is absent: full_precision has 3 rows where 4 are needed; add clips.",)


def test_every_score_is_there_or_has_its_reason(ear: Ear) -> None:
    named = {
        f"{name}_bands4"
        for name in (
            *("kad", "kl_ref_gen", "top1_agreement", "is_full_precision", "is_quantized"),
            *("text_score_full_precision", "text_score_quantized"),
        )
    }
    for n in (1, 16):
        heard = banks(n, 0.2)
        scores, notes = distribution_scores(ear, heard, embed_banks(ear, heard))
        absent = {note.split(" is absent: ")[0] for note in notes}
        assert {score.name for score in scores} | absent == named
        assert bool(absent) is (n == 1)
        assert all(score.n == n for score in scores)


def test_the_text_score_of_clips_that_fit_nothing_has_no_relative_change(ear: Ear) -> None:
    found = embed_banks(ear, banks(16, 0.0))
    fits = np.linspace(0.2, 0.4, 16, dtype=np.float32)
    each = np.arange(16)
    misfit = replace(found, text_full=-fits, text_quantized=fits)
    assert text_change_lower_pct(misfit, each) is None
    worse = replace(found, text_full=fits, text_quantized=fits * np.float32(0.9))
    bound = text_change_lower_pct(worse, each)
    assert bound is not None
    assert -12.0 < bound < -10.0
    same = replace(found, text_full=fits, text_quantized=fits)
    assert text_change_lower_pct(same, each) == pytest.approx(0.0)
    assert text_change_lower_pct(same, each // 4) is None, "four prompts, each of them four times"


def test_identical_clips_have_no_distance(ear: Ear) -> None:
    heard = banks(6, 0.0)
    cosine, divergence = pair_embedding_scores(embed_banks(ear, heard))
    assert cosine == pytest.approx(1.0)
    assert divergence == pytest.approx(0.0, abs=1e-6)
    assert (divergence >= 0).all()
    pair = score_pair(heard.full[0], heard.quantized[0], None)
    assert (pair.log_mel_l1_db, pair.lsd_db, pair.latent_sqnr_db) == (0.0, 0.0, None)


def test_more_noise_is_further_away(ear: Ear) -> None:
    little, much = (pair_embedding_scores(embed_banks(ear, banks(8, x))) for x in (0.01, 0.3))
    assert np.median(much[1]) > np.median(little[1])
    latents = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32) + np.float32(0.1)
    heard = banks(1, 0.1)
    scored = score_pair(heard.full[0], heard.quantized[0], latents)
    assert scored.latent_sqnr_db == pytest.approx(20.0, abs=1e-3)


def test_a_prompt_whose_seeds_sound_alike_has_no_divergence_index(ear: Ear) -> None:
    heard = banks(4, 0.1)
    heard = replace(heard, second=(heard.full[0], *heard.second[1:]))
    found = embed_banks(ear, heard)
    divergence = pair_embedding_scores(found)[1]
    assert np.isnan(divergence).tolist() == [True, False, False, False]
    assert median_of(divergence) == np.median(divergence[1:])
    with pytest.raises(MetricError, match="equal seeds"):
        median_of(divergence[:1])
    cosine, divergence = pair_embedding_scores(embed_banks(ear, replace(heard, second=heard.full)))
    assert np.isfinite(cosine).all()
    assert np.isnan(divergence).all()


def test_clips_of_another_rate_are_not_scored(ear: Ear) -> None:
    heard = banks(3, 0.1)
    full = tuple(replace(clip, sample_rate_hz=24_000) for clip in heard.full)
    with pytest.raises(MetricError, match="24000 samples a second, and the embedder hears 16000"):
        embed_banks(ear, replace(heard, full=full))


def test_the_reference_is_part_of_what_scores_hang_on(ear: Ear) -> None:
    other = BandEar(bank=replace(ear.bank, mean=ear.bank.mean + 1))
    assert ear_id(other) != ear_id(ear)
    assert ear_id(ear) == ear_id(BandEar())
    assert ear_id("none here") == "none"
