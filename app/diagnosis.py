"""What went wrong with a run, as far as its figures tell, and what to change.

PTQ4ADM (Vora et al. 2024, arXiv 2409.13894) names two ways to fail: calibration that does not cover
what is asked, which shows as a rise of the Fréchet distance, and ranges that are estimated wrongly,
which is heard as artefacts. The distance of few clips hides damage, for their small number alone
keeps full precision and quantized far from the reference: how far pairs are apart stands in for it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from app.components.notice.value import NoticeValue, Tone
from app.finished_run import FinishedRun
from ptq.audio import AudioClip
from ptq.calibration.manifest import MISMATCH
from ptq.clipping import PARTS
from ptq.layer_spec import DENOISER
from ptq.metrics.levels import clip_flags, new_defects
from ptq.plan import QuantPlan
from ptq.scheme import RangeSearch

_MOST_FD_PCT = 10.0
# In a trial on two prompts of the embedded model, ranges of least error (mse) cut off 2.3 % of one
# small layer's input and stayed at 26 dB; where 3 % and more was cut off, clips were below 10 dB.
_MOST_CLIPPED_PCT = 2.5
# The presets whose distance had risen by 9 and 11 % were 0.085 and 0.097 apart.
_MOST_DIVERGENCE = 0.1
_LEAST_REACH = 0.85
_MOST_LEVEL_DB = 3.0
_MOST_BAND_DB = 6.0
_HIGH_HZ = 4000.0
_MOST_PAIRS = 32
_QUIETEST = 1e-10
Pairs = Sequence[tuple[AudioClip, AudioClip]]


def diagnosis(run: FinishedRun) -> NoticeValue:
    """One line for every sign of failure; nothing where there is none."""
    # Read once: two signs listen to them.
    pairs = [run.generated(i) for i in range(min(len(run.report.pairs), _MOST_PAIRS))]
    lines = [
        *_of_distance(run),
        *_of_divergence(run),
        *_of_calibration(run),
        *_of_ranges(run),
        *_of_defects(pairs),
        *_of_sound(pairs),
    ]
    if not lines:
        return {}
    return {"tone": Tone.WARNING, "title": "What may have gone wrong", "lines": lines}


def _of_distance(run: FinishedRun) -> Iterator[str]:
    change = _risen_pct(run)
    if change is not None and change > _MOST_FD_PCT:
        yield (
            f"The Fréchet distance rose by {change:.0f} %: calibration may not cover what was "
            "asked. Take more prompts and states, covering and activation-aware ones; then give "
            "the layers that mind most more bits."
        )


def _of_divergence(run: FinishedRun) -> Iterator[str]:
    """What few clips can tell, for which a distance of distributions is too coarse."""
    index = run.report.paired.divergence_index
    if _risen_pct(run) is None and index is not None and index > _MOST_DIVERGENCE:
        yield (
            f"Half of the pairs are at least {index:.2f} as far apart as another seed would be: "
            "calibration may not cover what was asked, or these bits are too few. Take more "
            "prompts and states; then give the layers that mind most more bits."
        )


def _risen_pct(run: FinishedRun) -> float | None:
    """Rise of the distance, where there are clips enough for an interval of it."""
    fd = run.report.fd
    return None if fd is None or fd.ci95_pct is None else fd.increase_pct


def _of_calibration(run: FinishedRun) -> Iterator[str]:
    yield from (note for note in run.report.notes if note.startswith(MISMATCH))
    found, plan = run.calibration(), run.plan()
    static = {
        spec.name
        for spec in plan.quantized
        if spec.scheme.activation is not None and spec.scheme.activation.is_static
    }
    reached = {} if found is None else found.site_coverage
    missed = [name for name in reached if name in static and reached[name] < _LEAST_REACH]
    if missed:
        worst = min(missed, key=lambda name: reached[name])
        yield (
            f"Calibration saw {100 * reached[worst]:.0f} % of the largest values that {worst} was "
            f"given while it was recorded, and {len(missed)} layers in all stay below "
            f"{100 * _LEAST_REACH:.0f} %: take more states, activation-aware ones."
        )


def _of_ranges(run: FinishedRun) -> Iterator[str]:
    worst = max(run.clipped(), key=lambda found: found.share_pct, default=None)
    if worst is not None and worst.share_pct > _MOST_CLIPPED_PCT:
        denoises = worst.layer.startswith(f"{DENOISER}.")
        where = f"In part {worst.part + 1} of {PARTS} of the denoising, " if denoises else ""
        yield (
            f"{where}{worst.share_pct:.1f} % of what {worst.layer} was given lay beyond its range "
            f"and was cut off. {_cure_of_clipping(run.plan(), worst.layer)}"
        )


def _cure_of_clipping(plan: QuantPlan, layer: str) -> str:
    scheme = next(spec.scheme.activation for spec in plan.layers if spec.name == layer)
    if scheme is not None and scheme.range_search is not RangeSearch.MIN_MAX:
        return "Use minmax there, or dynamic activations."
    return "Calibrate on more prompts and states, or use dynamic activations there."


def _of_defects(pairs: Pairs) -> Iterator[str]:
    full, quantized = ([clip_flags(pair[side].samples) for pair in pairs] for side in (0, 1))
    found = new_defects(full, quantized)
    told = {"broken (NaN)": found.nan, "silent": found.silent, "clipped": found.clipped}
    for what, count in told.items():
        if count:
            yield (
                f"{count} of {len(pairs)} quantized clips {'is' if count == 1 else 'are'} {what} "
                "where full precision is not. Try dynamic activations: if they cure it, ranges "
                "are misestimated; if not, bits are too few."
            )


def _of_sound(pairs: Pairs) -> Iterator[str]:
    jumps = np.array([_jumps(full, quantized) for full, quantized in pairs])
    heard = jumps[np.isfinite(jumps).all(axis=1)]
    if not len(heard):
        return
    level, band = np.median(heard, axis=0)
    if abs(level) > _MOST_LEVEL_DB:
        yield (
            f"Quantized clips are {abs(level):.1f} dB {'louder' if level > 0 else 'quieter'} than "
            "full precision: ranges may be misestimated. Calibrate with the steps and the guidance "
            "that are used here, and keep the first and last convolutions."
        )
    if band > _MOST_BAND_DB:
        yield (
            f"Quantized clips have {band:.1f} dB more above {_HIGH_HZ / 1000:.0f} kHz, which is "
            "heard as hiss: give the activations of the last layers more bits, or smaller ranges "
            "(mse)."
        )
    if band < -_MOST_BAND_DB:
        yield (
            f"Quantized clips have {-band:.1f} dB less above {_HIGH_HZ / 1000:.0f} kHz, which is "
            "heard as dullness: ranges may cut off too much. Use minmax or dynamic activations in "
            "the last layers, or more bits."
        )


def _jumps(full: AudioClip, quantized: AudioClip) -> tuple[float, float]:
    """Change of the level, and of the share above 4 kHz, in dB; NaN of clips without sound."""
    spectra = [np.abs(np.fft.rfft(clip.samples)) ** 2 for clip in (full, quantized)]
    hz = np.fft.rfftfreq(len(full.samples), 1 / full.sample_rate_hz)
    whole = [_db(spectrum) for spectrum in spectra]
    high = [_db(spectrum[hz > _HIGH_HZ]) for spectrum in spectra]
    level = whole[1] - whole[0]
    return level, high[1] - high[0] - level


def _db(power: NDArray[np.float64]) -> float:
    total = float(power.sum())
    return 10 * float(np.log10(total)) if total > _QUIETEST else float("nan")
