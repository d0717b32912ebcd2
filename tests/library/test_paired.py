"""Paired distances, spectra, defects and trajectories."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ptq.errors import MetricError
from ptq.metrics import (
    ClipFlags,
    NewDefects,
    clip_flags,
    divergence_index,
    embedding_cosine,
    free_running_sqnr_db,
    log_mel_l1_db,
    lsd_db,
    mr_stft_distance,
    new_defects,
    rms_db,
    si_sdr_db,
    snr_db,
    sqnr_db,
    teacher_forced_sqnr_db,
)
from ptq.metrics.spectral import log_mel_db, magnitude

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "paired" / "ratios.json").read_text())
RATE_HZ = 16_000
Array = NDArray[np.float64]
TIME_S = np.arange(RATE_HZ) / RATE_HZ
TONE: Array = np.sin(2 * np.pi * 440.0 * TIME_S)
OTHER: Array = np.sin(2 * np.pi * 1000.0 * TIME_S)
NOISE: Array = 0.1 * np.random.default_rng(0).standard_normal(RATE_HZ)


def test_golden_ratios() -> None:
    short = si_sdr_db([3, -0.5, 2, 7], [2.5, 0, 2, 8])
    assert short == pytest.approx(GOLDEN["si_sdr_short_db"], abs=1e-4)
    close, half = TONE + 0.01 * OTHER, 0.5 * TONE + 0.005 * OTHER
    assert snr_db(TONE, close) == pytest.approx(GOLDEN["snr_tone_plus_other_db"], abs=1e-9)
    assert si_sdr_db(TONE, close) == pytest.approx(GOLDEN["si_sdr_tone_plus_other_db"], abs=1e-9)
    assert snr_db(TONE, half) == pytest.approx(GOLDEN["snr_half_tone_db"], abs=1e-4)
    assert si_sdr_db(TONE, half) == pytest.approx(GOLDEN["si_sdr_half_tone_db"], abs=1e-9)


def test_identical_signals_have_an_infinite_ratio() -> None:
    assert snr_db(TONE, TONE) == math.inf
    assert si_sdr_db(TONE, TONE) == math.inf


def test_si_sdr_of_orthogonal_signals_is_minus_infinity() -> None:
    assert si_sdr_db([1.0, 0.0], [0.0, 1.0]) == -math.inf


def test_si_sdr_ignores_gain_and_sqnr_does_not() -> None:
    noisy = TONE + NOISE
    assert si_sdr_db(TONE, 3.0 * noisy) == pytest.approx(si_sdr_db(TONE, noisy))
    assert sqnr_db(TONE, 3.0 * noisy) < sqnr_db(TONE, noisy) - 10.0


def test_sqnr_takes_tensors_and_gains_six_db_a_bit() -> None:
    latent = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    errors = [sqnr_db(latent, (latent * 2**bits).round() / 2**bits) for bits in (3, 4, 5)]
    assert np.diff(errors) == pytest.approx(6.02, abs=0.2)


def test_ratios_to_nothing_raise() -> None:
    with pytest.raises(MetricError, match="reference is all zero"):
        snr_db(np.zeros(4), np.ones(4))
    with pytest.raises(MetricError, match="estimate is all zero"):
        si_sdr_db(np.ones(4), np.zeros(4))
    with pytest.raises(MetricError, match="one shape"):
        snr_db(np.ones(4), np.ones(5))
    with pytest.raises(MetricError, match="NaN"):
        snr_db(np.ones(4), np.full(4, np.nan))


def test_golden_lsd() -> None:
    assert lsd_db(NOISE, 0.1 * NOISE, sample_rate_hz=RATE_HZ) == pytest.approx(
        GOLDEN["lsd_tenth_of_noise_db"], abs=1e-6
    )


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_a_gain_moves_every_log_spectrum_by_its_decibels(rate_hz: int) -> None:
    quieter = NOISE * 10.0 ** (-7.0 / 20.0)
    assert lsd_db(NOISE, quieter, sample_rate_hz=rate_hz) == pytest.approx(7.0, abs=1e-3)
    assert log_mel_l1_db(NOISE, quieter, sample_rate_hz=rate_hz) == pytest.approx(7.0, abs=1e-3)


def test_spectral_distances_of_a_clip_to_itself_are_zero_even_in_silence() -> None:
    clip = np.concatenate([NOISE, np.zeros(RATE_HZ)])
    assert lsd_db(clip, clip, sample_rate_hz=RATE_HZ) == 0.0
    assert log_mel_l1_db(clip, clip, sample_rate_hz=RATE_HZ) == 0.0
    assert mr_stft_distance(clip, clip) == 0.0


def test_spectral_distances_grow_with_the_noise() -> None:
    levels = (0.001, 0.01, 0.1)
    for distance in (
        [lsd_db(TONE, TONE + g * NOISE, sample_rate_hz=RATE_HZ) for g in levels],
        [log_mel_l1_db(TONE, TONE + g * NOISE, sample_rate_hz=RATE_HZ) for g in levels],
        [mr_stft_distance(TONE, TONE + g * NOISE) for g in levels],
    ):
        assert 0.0 < distance[0] < distance[1] < distance[2]


def test_mr_stft_of_a_gain_is_exact() -> None:
    assert mr_stft_distance(NOISE, 0.5 * NOISE) == pytest.approx(0.5 + math.log(2.0), rel=1e-3)


def test_channels_are_averaged() -> None:
    stereo, changed = np.stack([NOISE, NOISE]), np.stack([NOISE, 0.1 * NOISE])
    assert lsd_db(stereo, changed, sample_rate_hz=RATE_HZ) == pytest.approx(10.0, abs=1e-3)


def test_magnitude_agrees_with_a_known_tone() -> None:
    spectrum = magnitude(TONE, n_fft=1024, hop=160)
    middle = spectrum[spectrum.shape[0] // 2]
    assert spectrum.shape == (RATE_HZ // 160 + 1, 513)
    assert int(middle.argmax()) == round(440.0 * 1024 / RATE_HZ)
    # Parseval: the energy of a windowed frame of a unit sine is half that of the Hann window.
    energy = 2.0 * np.square(middle).sum() / 1024
    assert energy == pytest.approx(0.5 * 0.375 * 1024, rel=1e-2)


def test_log_mel_has_a_band_per_mel_and_a_floor() -> None:
    bands = log_mel_db(np.zeros(RATE_HZ), sample_rate_hz=RATE_HZ, n_mels=40)
    assert bands.shape[-1] == 40
    assert (bands == -100.0).all()


def test_clips_shorter_than_a_window_raise() -> None:
    with pytest.raises(MetricError, match="too short"):
        mr_stft_distance(np.ones(500), np.ones(500))


def test_cosine_of_pairs() -> None:
    cosine = embedding_cosine(
        [[1.0, 0.0], [1.0, 1.0], [2.0, 0.0]], [[3.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    )
    assert cosine == pytest.approx([1.0, math.sqrt(0.5), 0.0])
    with pytest.raises(MetricError, match="pair 1 is all zero"):
        embedding_cosine([[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]])
    with pytest.raises(MetricError, match="one shape"):
        embedding_cosine(np.ones((3, 2)), np.ones((2, 2)))


def test_divergence_index() -> None:
    assert divergence_index([0.0, 1.0, 2.0], [2.0, 2.0, 2.0]) == pytest.approx([0.0, 0.5, 1.0])
    assert divergence_index(0.3, 0.6) == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("quantized", "seed", "message"),
    [
        ([1.0, 1.0], [1.0, 0.0], "prompt 1"),
        ([-1.0], [1.0], "not negative"),
        ([1.0, 2.0], [1.0], "one of each"),
        ([np.nan], [1.0], "NaN"),
    ],
)
def test_divergence_index_refuses(quantized: list[float], seed: list[float], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        divergence_index(quantized, seed)


def test_levels() -> None:
    assert rms_db(TONE) == pytest.approx(-3.0103, abs=1e-3)
    assert rms_db(np.zeros(10)) == -math.inf


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        (TONE * 0.5, ClipFlags(silent=False, clipped=False, nan=False)),
        (TONE * 1e-4, ClipFlags(silent=True, clipped=False, nan=False)),
        (np.zeros(100), ClipFlags(silent=True, clipped=False, nan=False)),
        (np.clip(3 * TONE, -1, 1), ClipFlags(silent=False, clipped=True, nan=False)),
        (np.where(TIME_S == 0.5, np.nan, TONE), ClipFlags(silent=False, clipped=False, nan=True)),
        (np.where(TIME_S == 0.5, np.inf, TONE), ClipFlags(silent=False, clipped=False, nan=True)),
        (
            np.where(TIME_S == 0.5, 1.0, 0.5 * TONE),
            ClipFlags(silent=False, clipped=False, nan=False),
        ),
    ],
    ids=["good", "quiet", "zero", "clipped", "nan", "infinite", "one peak"],
)
def test_clip_flags(clip: Array, expected: ClipFlags) -> None:
    assert clip_flags(clip) == expected


def test_only_defects_that_are_new_count() -> None:
    good, bad = clip_flags(0.5 * TONE), clip_flags(np.zeros(100))
    clipped, broken = clip_flags(np.ones(100)), clip_flags([np.nan])
    counts = new_defects([good, bad, good, good], [bad, bad, clipped, broken])
    assert counts == NewDefects(silent=1, clipped=1, nan=1)
    with pytest.raises(MetricError, match="in pairs"):
        new_defects([good], [])
    with pytest.raises(MetricError, match="no samples"):
        clip_flags([])


def test_trajectories_have_one_ratio_a_step_and_row() -> None:
    rng = np.random.default_rng(3)
    states = rng.standard_normal((5, 2, 4, 8))
    noise = rng.standard_normal(states.shape)
    noise *= np.sqrt(
        np.square(states).sum(axis=(2, 3), keepdims=True)
        / np.square(noise).sum(axis=(2, 3), keepdims=True)
    )
    gains = 10.0 ** (-np.arange(10).reshape(5, 2, 1, 1) / 20.0)
    for metric in (teacher_forced_sqnr_db, free_running_sqnr_db):
        assert metric(states, states + gains * noise) == pytest.approx(
            np.arange(10.0).reshape(5, 2)
        )


def test_equal_steps_are_infinite_and_empty_ones_raise() -> None:
    states = np.ones((2, 1, 3))
    changed = states.copy()
    changed[1] += 1.0
    assert free_running_sqnr_db(states, changed).tolist() == [[math.inf], [0.0]]
    silent = states.copy()
    silent[1] = 0.0
    with pytest.raises(MetricError, match="step 1, row 0"):
        free_running_sqnr_db(silent, states)
    with pytest.raises(MetricError, match="steps, batch"):
        teacher_forced_sqnr_db(np.ones((2, 3)), np.ones((2, 3)))
