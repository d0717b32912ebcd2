"""What a verdict is fed with: every gate hears of its own figure, and of no other."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ptq.banks import Array, Banks, Embeddings
from ptq.metrics import NewDefects, ReferenceBank, Verdict
from ptq.scoring import fd_record
from tests.band_ear import BandEar, noise_clips

N, DIM = 400, 4
NONE = NewDefects(silent=0, clipped=0, nan=0)
ANIMALS = np.arange(N) % 2 == 0
# Every clip has a text of its own, and names one family.
PROMPTS = tuple(
    f"{'a dog barks' if dog else 'rain falls'}, take {i}" for i, dog in enumerate(ANIMALS)
)
BANKS = Banks(prompts=PROMPTS, **dict.fromkeys(("full", "second", "quantized"), noise_clips(1, 0)))


def drawn(seed: int, n: int = N) -> Array:
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


REFERENCE = ReferenceBank.from_embeddings(drawn(1, 4000))
EAR = BandEar(bank=REFERENCE, families={"animal": REFERENCE, "nature": REFERENCE})
ASIDE = np.array([1.0, 0.0, 0.0, 0.0], dtype=np.float32)
# Full precision lies as far from the reference as a unit step along the first axis.
FULL = drawn(2) + ASIDE
GOOD = Embeddings(
    full=FULL,
    second=drawn(3) + ASIDE,
    quantized=FULL + np.float32(1e-3) * drawn(4),
    text_full=np.full(N, 0.3, np.float32),
    text_quantized=np.full(N, 0.3, np.float32),
)


def judged(found: Embeddings, defects: NewDefects = NONE) -> tuple[str, str]:
    """Verdict and reasons."""
    record, notes = fd_record(EAR, BANKS, found, defects)
    assert record is not None
    return record.verdict, " ".join(notes)


def test_what_differs_by_next_to_nothing_is_non_inferior() -> None:
    assert judged(GOOD) == (Verdict.NON_INFERIOR.value, "")


@pytest.mark.parametrize("kind", ["silent", "clipped", "nan"])
def test_each_kind_of_defect_fails_its_own_gate(kind: str) -> None:
    verdict, reasons = judged(GOOD, replace(NONE, **{kind: 2}))
    name = "NaN" if kind == "nan" else kind
    assert verdict == Verdict.NOT_RESOLVED.value
    assert reasons == f"The number of new {name} clips is 2, above 0."


def test_a_family_is_judged_by_its_own_clips() -> None:
    worse = GOOD.quantized + np.where(ANIMALS[:, None], ASIDE, 0).astype(np.float32)
    reasons = judged(replace(GOOD, quantized=worse))[1]
    assert "sound family animal" in reasons
    assert "sound family nature" not in reasons


def test_a_model_on_the_other_side_of_the_reference_is_far_from_full_precision() -> None:
    """As far from the reference as full precision, and twice as far from another seed."""
    mirrored = replace(GOOD, quantized=FULL - 2 * ASIDE)
    reasons = judged(mirrored)[1]
    found = re.search(r"beyond that of another seed is (\S+) %, not below 5 %", reasons)
    assert found is not None
    # Two steps apart, squared, against one step from the reference.
    assert 350 < float(found[1]) < 600


def test_a_worse_caption_score_fails_its_own_gate() -> None:
    worse = GOOD.text_full * np.linspace(0.92, 0.98, N, dtype=np.float32)
    reasons = judged(replace(GOOD, text_quantized=worse))[1]
    assert re.fullmatch(
        r"The lower bound of the change of the text score is -5\.\d+ %, .*", reasons
    )


def test_pairs_that_are_far_apart_fail_by_their_divergence() -> None:
    """The same clips, each given to the next prompt of its family: only pairs can tell."""
    reasons = judged(replace(GOOD, quantized=np.roll(FULL, 2, axis=0)))[1]
    assert re.search(r"The median divergence index is (0\.9\d+|1\.\d+), above 0\.5\.", reasons)
    assert "sound family" not in reasons
