"""The synthesizer: every source sounds, always, the same for the same seed."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from assets.recipe.contact_sheet import write_contact_sheet
from assets.recipe.synth import SAMPLE_RATE_HZ, VOICES, Voicing, render_source
from assets.recipe.synth.base import voice

SOURCES: Final = frozenset(
    {
        # human
        "speech",
        "laughter",
        "clapping",
        "footsteps",
        "whistling",
        "baby_cry",
        "snoring",
        # animal
        "dog",
        "cat",
        "songbird",
        "owl",
        "crickets",
        "frog",
        "cow",
        # music
        "guitar",
        "piano",
        "organ",
        "drums",
        "bell",
        "violin",
        "flute",
        # nature
        "rain",
        "wind",
        "waves",
        "thunder",
        "fire",
        "stream",
        # things
        "siren",
        "engine",
        "clock",
        "telephone",
        "alarm",
        "car_horn",
        "train",
        "helicopter",
        "typing",
        "knocking",
        # ambiguous
        "hum",
        "hiss",
        "sweep",
        "whoosh",
        # environment
        "crowd",
        "traffic",
        "factory",
    }
)
SHORT: Final = round(0.8 * SAMPLE_RATE_HZ)
LONG: Final = round(5.12 * SAMPLE_RATE_HZ)


def render(
    source_id: str, *, seed: int = 0, n: int = SHORT, pace: float = 1.0, pitch: float = 1.0
) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return render_source(source_id, rng, n, Voicing(pace=pace, pitch=pitch))


def centroid_hz(samples: NDArray[np.float64]) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency_hz = np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE_HZ)
    return float(np.sum(power * frequency_hz) / np.sum(power))


def test_the_registry_holds_exactly_the_sources() -> None:
    assert set(VOICES) == SOURCES


@pytest.mark.parametrize("source_id", sorted(SOURCES))
@pytest.mark.parametrize("n", [SHORT, LONG])
def test_a_clip_is_full_finite_and_audible(source_id: str, n: int) -> None:
    clip = render(source_id, n=n)
    assert clip.shape == (n,)
    assert clip.dtype == np.float64
    assert np.isfinite(clip).all()
    assert np.abs(clip).max() == pytest.approx(1.0)
    first_s = np.flatnonzero(np.abs(clip) > 0.05)[0] / SAMPLE_RATE_HZ
    assert first_s < 0.3
    assert np.sqrt(np.mean(clip[:SHORT] ** 2)) > 0.02


@pytest.mark.parametrize("source_id", sorted(SOURCES))
def test_an_equal_seed_gives_equal_samples_and_another_seed_another_clip(source_id: str) -> None:
    clip = render(source_id, seed=1)
    np.testing.assert_array_equal(clip, render(source_id, seed=1))
    assert np.abs(clip - render(source_id, seed=2)).max() > 0.1


@pytest.mark.parametrize("source_id", sorted(SOURCES))
@pytest.mark.parametrize(("pace", "pitch"), [(0.55, 0.65), (1.8, 1.5)])
def test_slow_and_low_and_fast_and_high_clips_are_audible(
    source_id: str, pace: float, pitch: float
) -> None:
    clip = render(source_id, pace=pace, pitch=pitch)
    assert np.isfinite(clip).all()
    assert np.sqrt(np.mean(clip**2)) > 0.02


@pytest.mark.parametrize(
    "source_id", ["whistling", "owl", "bell", "flute", "siren", "alarm", "hum", "wind"]
)
def test_pitch_moves_the_spectrum(source_id: str) -> None:
    low, high = (centroid_hz(render(source_id, seed=3, pitch=pitch)) for pitch in (0.65, 1.5))
    assert high > 1.25 * low


@pytest.mark.parametrize("source_id", ["clock", "whoosh", "owl", "footsteps", "frog"])
def test_pace_changes_the_number_of_events(source_id: str) -> None:
    def count(pace: float) -> int:
        clip = np.abs(render(source_id, seed=3, n=LONG, pace=pace))
        frames = clip[: LONG // 800 * 800].reshape(-1, 800).max(axis=1) > 0.2
        return int(np.sum(frames[1:] & ~frames[:-1]))

    assert count(1.8) > 1.3 * count(0.55)


def test_a_source_that_nobody_voiced_is_named() -> None:
    with pytest.raises(ValueError, match="no source 'unicorn'"):
        render("unicorn")


def test_a_second_voice_for_a_source_is_refused() -> None:
    with pytest.raises(ValueError, match="'speech' has a voice already"):
        voice("speech")


@pytest.mark.parametrize("factor", [0.0, 9.0, float("nan")])
def test_a_factor_out_of_range_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="pitch is"):
        Voicing(pitch=factor)


def test_a_contact_sheet_is_drawn_into_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    write_contact_sheet(sheet, sources=("bell",), seeds=(0, 1), duration_s=0.5)
    assert sheet.read_bytes().startswith(b"\x89PNG")
