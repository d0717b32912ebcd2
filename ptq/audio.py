"""Clips: samples that carry their rate, files that keep every sample, and loudness."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyloudnorm
import soundfile
from numpy.typing import NDArray

from ptq.errors import CheckpointError, MetricError

_NOT_FINITE = ".not-finite"
# gr.Audio and 16-bit files would change what is compared; 24-bit FLAC keeps 144 dB.
_SUBTYPE = "PCM_24"
_MAX_MATCH_DB = 24.0


@dataclass(frozen=True, kw_only=True, eq=False)
class AudioClip:
    """Mono samples ``(n_samples,)`` in [-1, 1] with their rate."""

    samples: NDArray[np.float32]
    sample_rate_hz: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.size == 0:
            raise MetricError(
                f"A clip needs samples of shape (n,), got {self.samples.shape}; mix to mono first."
            )

    @property
    def seconds(self) -> float:
        """Length."""
        return self.samples.size / self.sample_rate_hz


def write_clip(path: Path, clip: AudioClip) -> Path:
    """Write a 24-bit FLAC atomically; samples beyond full scale are clipped.

    A clip with NaN or infinity, which no sound file holds, becomes silence, with a marker beside
    it that ``read_generated`` reads.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    marker = path.with_suffix(_NOT_FINITE)
    # Asked of what was generated: clipping makes a loud sample of infinity.
    if np.isfinite(clip.samples).all():
        samples = np.clip(clip.samples, -1.0, 1.0)
        marker.unlink(missing_ok=True)
    else:
        samples = np.zeros_like(clip.samples)
        marker.touch()
    soundfile.write(partial, samples, clip.sample_rate_hz, subtype=_SUBTYPE, format="FLAC")
    partial.replace(path)
    return path


def read_clip(path: Path) -> AudioClip:
    """Read a mono clip.

    Raises:
        CheckpointError: If the file is missing or no audio.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32")
    except (OSError, soundfile.SoundFileError) as error:
        raise CheckpointError(
            f"The clip {path} cannot be read ({type(error).__name__}); delete it and make it again."
        ) from error
    return AudioClip(samples=samples, sample_rate_hz=rate)


def loudness_lufs(clip: AudioClip) -> float | None:
    """Integrated loudness (ITU-R BS.1770-4); ``None`` for a silent or very short clip."""
    meter = pyloudnorm.Meter(clip.sample_rate_hz)
    if clip.seconds < meter.block_size:
        return None
    loudness = float(meter.integrated_loudness(clip.samples.astype(np.float64)))
    return loudness if np.isfinite(loudness) else None


def match_gain_db(reference: AudioClip, estimate: AudioClip) -> float:
    """Gain that brings ``estimate`` to the loudness of ``reference``; 0 where one is silent."""
    target, found = loudness_lufs(reference), loudness_lufs(estimate)
    if target is None or found is None:
        return 0.0
    return float(np.clip(target - found, -_MAX_MATCH_DB, _MAX_MATCH_DB))


def read_generated(path: Path) -> AudioClip:
    """Read a clip as it was generated: NaN throughout where it had no sound to write.

    Raises:
        CheckpointError: If the file is missing or no audio.
    """
    clip = read_clip(path)
    if not path.with_suffix(_NOT_FINITE).exists():
        return clip
    return replace(clip, samples=np.full_like(clip.samples, np.nan))
