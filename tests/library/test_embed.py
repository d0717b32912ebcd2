"""The embedders' interface: same vector whatever the gain, the company, or the batch."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ptq.errors import CheckpointError, MetricError
from ptq.metrics.embed.base import Embedder
from ptq.metrics.embed.filters import hz_to_mel, triangular_filters
from ptq.metrics.embed.judge import Judge
from ptq.metrics.embed.logmel import LogMel128
from ptq.metrics.embed.mini import Mini128
from ptq.metrics.embed.words import PADDING, UNKNOWN, Vocabulary

Clip = NDArray[np.float32]


@pytest.fixture(scope="module", params=["mini128", "logmel128"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return Mini128.load() if request.param == "mini128" else LogMel128()


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    rng = np.random.default_rng(0)
    time_s = np.arange(40_960) / 16_000
    tones = [
        0.1 * np.sin(2 * np.pi * f * time_s) + 0.01 * rng.standard_normal(len(time_s))
        for f in (150, 400, 1000, 2500, 6000)
    ]
    return [tone.astype(np.float32) for tone in tones]


def test_one_row_a_clip(embedder: Embedder, clips: list[Clip]) -> None:
    rows = embedder.embed(clips)
    assert rows.shape == (5, embedder.dim) == (5, 128)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert len(embedder.sha256) == 64


def test_different_sounds_lie_apart(embedder: Embedder, clips: list[Clip]) -> None:
    rows = embedder.embed(clips)
    assert min(np.linalg.norm(rows[i] - rows[j]) for i in range(5) for j in range(i)) > 0.1


@pytest.mark.parametrize("gain_db", [-12.0, 12.0])
def test_gain_and_offset_do_not_matter(
    embedder: Embedder, clips: list[Clip], gain_db: float
) -> None:
    louder = [(clip * 10 ** (gain_db / 20) + 0.05).astype(np.float32) for clip in clips]
    np.testing.assert_allclose(embedder.embed(louder), embedder.embed(clips), atol=2e-3)


def test_a_clip_does_not_depend_on_its_batch(embedder: Embedder, clips: list[Clip]) -> None:
    many = embedder.embed([*clips * 4, np.concatenate(clips[:2])])
    alone = np.concatenate([embedder.embed([clip]) for clip in clips])
    np.testing.assert_allclose(many[:5], alone, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(embedder.embed(clips), embedder.embed(clips))


def test_silence_has_an_embedding(embedder: Embedder) -> None:
    silence = np.zeros(40_960, dtype=np.float32)
    rows = embedder.embed([silence, silence + np.float32(0.2)])
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-3)


@pytest.mark.parametrize(
    ("clip", "says"),
    [
        (np.zeros((2, 16_000), dtype=np.float32), "mono"),
        (np.zeros(100, dtype=np.float32), "at least 8000"),
        (np.full(16_000, np.nan, dtype=np.float32), "NaN"),
    ],
)
def test_bad_clips_are_refused(embedder: Embedder, clip: Clip, says: str) -> None:
    with pytest.raises(MetricError, match=says):
        embedder.embed([clip])


def test_class_logits_cover_the_sources(clips: list[Clip]) -> None:
    ear = Mini128.load()
    assert ear.class_logits(ear.embed(clips)).shape == (5, 44)
    assert len(set(ear.sources)) == 44


def test_text_embeddings_are_unit_and_ignore_case(clips: list[Clip]) -> None:
    ear = Mini128.load()
    vectors = ear.text_embed(["a dog barks", "A DOG BARKS!", "rain falls", "", "42"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)
    assert vectors[0] @ vectors[2] < 0.9
    scores = ear.text_score(clips[:2], ["a dog barks", "rain falls"])
    assert scores.shape == (2,)
    assert np.abs(scores).max() <= 1.0 + 1e-5


def test_text_score_wants_one_text_a_clip(clips: list[Clip]) -> None:
    with pytest.raises(MetricError, match="5 clips but 1 texts"):
        Mini128.load().text_score(clips, ["a dog barks"])


def test_vocabulary_pads_and_marks_unknown_words() -> None:
    vocabulary = Vocabulary.of(["a dog barks", "a low-pitched dog"])
    assert vocabulary.words == ("a", "barks", "dog", "low-pitched")
    rows = vocabulary.tokens(["A dog, 3 zebras", "a dog barks a dog"])
    assert rows[0].tolist() == [2, 4, UNKNOWN, PADDING, PADDING]
    assert vocabulary.tokens(["dog " * 50]).shape == (1, 32)


def test_filters_average_white_noise_to_one() -> None:
    bank = triangular_filters(
        sample_rate_hz=16_000, n_fft=512, n_bands=64, range_hz=(50.0, 8000.0), warp=hz_to_mel
    )
    np.testing.assert_allclose(bank @ np.ones(257), 1.0, rtol=1e-5)
    peaks = bank.argmax(axis=1)
    assert (np.diff(peaks) >= 0).all()
    with pytest.raises(ValueError, match="hold no bin"):
        triangular_filters(
            sample_rate_hz=16_000, n_fft=128, n_bands=64, range_hz=(50.0, 8000.0), warp=hz_to_mel
        )


def test_missing_weights_say_how_to_get_them(tmp_path: object) -> None:
    for load in (Mini128.load, Judge.load):
        with pytest.raises(CheckpointError, match=r"assets\.recipe"):
            load(tmp_path)  # type: ignore[arg-type]


def test_judge_gives_shares(clips: list[Clip]) -> None:
    judge = Judge.load()
    shares = judge.probabilities([*clips, np.zeros(81_920, dtype=np.float32)])
    assert shares.shape == (6, 44)
    np.testing.assert_allclose(shares.sum(1), 1.0, atol=1e-5)
    np.testing.assert_allclose(judge.probabilities(clips[:1])[0], shares[0], atol=1e-5)
