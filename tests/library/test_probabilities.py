"""KL both ways, inception score, agreement."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ptq.errors import MetricError
from ptq.metrics import (
    inception_score,
    inception_score_parts,
    kl_gen_ref,
    kl_ref_gen,
    split_half_inception_score,
    top1_agreement,
)

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "probabilities" / "divergences.json").read_text()
)
Array = NDArray[np.float64]
CLIP, LABEL = np.mgrid[1:7, 1:6]
GENERATED: Array = np.asarray(3.0 * np.sin(1.3 * CLIP + 0.9 * LABEL))
REFERENCE: Array = np.asarray(3.0 * np.cos(0.4 * CLIP * LABEL))


def test_golden_divergences() -> None:
    assert kl_ref_gen(REFERENCE, GENERATED) == pytest.approx(GOLDEN["kl_ref_gen"], rel=1e-9)
    assert kl_gen_ref(REFERENCE, GENERATED) == pytest.approx(GOLDEN["kl_gen_ref"], rel=1e-9)


def test_golden_compatibility_values() -> None:
    assert kl_ref_gen(REFERENCE, GENERATED, audioldm_compat=True) == pytest.approx(
        GOLDEN["kl_ref_gen_compat"], rel=1e-9
    )
    assert kl_gen_ref(REFERENCE, GENERATED, audioldm_compat=True) == pytest.approx(
        GOLDEN["kl_gen_ref_compat"], rel=1e-9
    )


def test_golden_inception_scores() -> None:
    assert inception_score(GENERATED) == pytest.approx(GOLDEN["inception_score"], rel=1e-9)
    assert inception_score_parts(GENERATED, parts=2, shuffle_seed=None) == pytest.approx(
        GOLDEN["inception_score_2_parts"], rel=1e-9
    )


def test_divergence_ignores_what_softmax_ignores_and_vanishes_for_equals() -> None:
    assert kl_ref_gen(REFERENCE + 500.0, GENERATED - 300.0) == pytest.approx(
        kl_ref_gen(REFERENCE, GENERATED), rel=1e-9
    )
    assert kl_ref_gen(REFERENCE, REFERENCE) == 0.0


def test_divergence_of_disjoint_labels_is_finite() -> None:
    certain = np.array([[2000.0, 0.0], [0.0, 2000.0]])
    assert kl_ref_gen(certain, certain[::-1]) == pytest.approx(2000.0)


def test_inception_score_of_certain_distinct_clips_is_their_number() -> None:
    assert inception_score(1000.0 * np.eye(6)) == pytest.approx(6.0)
    assert inception_score(np.zeros((6, 5))) == pytest.approx(1.0)


def test_split_half_lifts_the_downward_bias_of_few_clips() -> None:
    rng = np.random.default_rng(0)
    logits = 3.0 * rng.standard_normal((20000, 8))
    truth = inception_score(logits)
    draws = [logits[rng.choice(20000, 60, replace=False)] for _ in range(80)]
    plain = abs(np.mean([inception_score(x) for x in draws]) - truth)
    corrected = abs(np.mean([split_half_inception_score(x) for x in draws]) - truth)
    assert corrected < 0.5 * plain


def test_parts_are_shuffled_by_their_seed() -> None:
    logits = np.random.default_rng(1).standard_normal((40, 5)) + np.arange(40)[:, None] % 5
    default = inception_score_parts(logits)
    assert default == inception_score_parts(logits, parts=10, shuffle_seed=2020)
    assert default != inception_score_parts(logits, shuffle_seed=1)


def test_agreement_counts_equal_labels() -> None:
    changed = REFERENCE.copy()
    changed[0] = changed[0][::-1]
    assert top1_agreement(REFERENCE, REFERENCE) == 1.0
    assert top1_agreement(REFERENCE, changed) == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("estimate", "message"),
    [(GENERATED[:4], "clips"), (GENERATED[:, :3], "columns"), (GENERATED * np.nan, "NaN")],
)
def test_bad_logits_raise(estimate: Array, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        kl_ref_gen(REFERENCE, estimate)


def test_too_few_clips_for_parts_raise() -> None:
    with pytest.raises(MetricError, match="rows"):
        inception_score_parts(GENERATED, parts=10)
    with pytest.raises(MetricError, match="parts is 0"):
        inception_score_parts(GENERATED, parts=0)
