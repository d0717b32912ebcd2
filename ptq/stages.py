"""The stages of a study: each reads files, writes files, and skips what is already there."""

import copy
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.sampling import Correct, SamplingSettings, ShouldStop
from ptq.audio import AudioClip, read_generated, write_clip
from ptq.calibration.calibrator import Calibrator, needs_calibration
from ptq.calibration.correction import SamplerCorrection, fit_correction
from ptq.calibration.folder import CalibrationFolder
from ptq.calibration.purposes import HeldOut, Purpose
from ptq.calibration.replay import Replay
from ptq.calibration.rounding import rounded_weights, rounds_by_data
from ptq.calibration.shipped import shipped_calibration
from ptq.checkpoint import load_packed, packed_plan, save_packed
from ptq.clipping import ClippingMeter, write_counts
from ptq.errors import CheckpointError
from ptq.generation import GeneratedClip, GenerationRequest, Generator
from ptq.layer_spec import LayerInfo
from ptq.observers import CalibrationStats
from ptq.plan import QuantPlan, read_plan, resolve_plan
from ptq.quantize import quantize_
from ptq.run_folder import RunFolder
from ptq.study_config import StudyConfig
from ptq.study_events import OnEvent, Stage, StudyEvent
from ptq.tensor_files import read_tensors, write_tensors
from ptq.weights import QuantizedWeight

PLAN = "plan.json"
CALIBRATION = "calibration"
PACKED = "packed"
CORRECTION = "correction.safetensors"
FULL, SECOND, QUANTIZED = "reference", "second-seed", "quantized"
_TIMINGS = "timings.json"
_STATES_A_STEP = 4


@dataclass(frozen=True, kw_only=True)
class StudyContext:
    """What every stage works with."""

    config: StudyConfig
    adm: AudioDiffusionModel
    run: RunFolder
    on_event: OnEvent
    should_stop: ShouldStop

    @property
    def settings(self) -> SamplingSettings:
        """How every clip of the study is sampled."""
        c = self.config
        return SamplingSettings(steps=c.steps, guidance=c.guidance, seconds=c.seconds)

    def layers(self) -> tuple[LayerInfo, ...]:
        """The model's layers."""
        return layers_of(self.adm)

    def tell(self, stage: Stage, done: int, total: int, artefact: Path | None = None) -> None:
        """Report progress."""
        self.on_event(StudyEvent(stage=stage, done=done, total=total, artefact=artefact))

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Tell of a stage that begins, and add its time to the run's, across resumed sessions."""
        self.tell(stage, 0, 1)
        start = time.monotonic()
        try:
            yield
        finally:
            timings = self.run.read_json(_TIMINGS)
            spent = time.monotonic() - start + float(timings.get(stage.value, 0.0))
            self.run.write_json(_TIMINGS, {**timings, stage.value: round(spent, 3)})

    def timings(self) -> Mapping[str, float]:
        """Seconds by stage."""
        return self.run.read_json(_TIMINGS)


def plan_stage(study: StudyContext) -> QuantPlan:
    """Resolve the rules for this model."""
    with study.timed(Stage.PLAN):
        plan = resolve_plan(study.config.quant, study.layers())
        if _plan_before(study.run) not in (None, plan.sha256):
            # An older version resolved the same rules to other bits: what hangs on them goes.
            for name in (CALIBRATION, PACKED, QUANTIZED):
                study.run.forget(name)
        path = study.run.write_text(PLAN, plan.to_json())
        study.tell(Stage.PLAN, 1, 1, path)
    return plan


def _plan_before(run: RunFolder) -> str | None:
    """Hash of the plan that the run's files were made with; ``""`` for one that cannot be read."""
    path = run.path / PLAN
    if not path.exists():
        return None
    try:
        return read_plan(path).sha256
    except CheckpointError:
        return ""


def clip_path(bank: str, sample_id: int) -> str:
    """Where a clip lies in a run folder."""
    return f"{bank}/{sample_id:03d}.flac"


def latents_path(bank: str, sample_id: int) -> str:
    """Where a clip's latents of every step lie."""
    return f"{bank}/{sample_id:03d}.npy"


def generate_stage(
    study: StudyContext,
    stage: Stage,
    bank: str,
    adm: AudioDiffusionModel,
    correct: Correct | None = None,
) -> None:
    """Generate the clips of one bank that are missing."""
    n = len(study.config.prompts)
    present = frozenset(i for i in range(n) if _is_present(study.run, bank, i))
    seed = study.config.seed + (1 if bank == SECOND else 0)
    request = GenerationRequest(prompts=study.config.prompts, seed=seed, settings=study.settings)
    generator = Generator(
        adm=adm,
        batch_size=study.config.batch_size,
        should_stop=study.should_stop,
        correct=correct,
    )
    meter = ClippingMeter(adm.parts())
    with study.timed(stage), meter.watching():
        for done, clip in enumerate(generator(request, skip=present), start=len(present) + 1):
            # A batch comes with its first clip: one that is made again is counted again, not twice.
            batch = clip.sample_id // generator.batch_size
            write_counts(study.run, bank, batch, meter.taken())
            path = _write(study.run, bank, clip)
            study.tell(stage, done, n, path)
    study.tell(stage, n, n)


def _is_present(run: RunFolder, bank: str, sample_id: int) -> bool:
    names = [clip_path(bank, sample_id)]
    if bank != SECOND:
        names += [latents_path(bank, sample_id), _final_path(bank, sample_id)]
    return all((run.path / name).exists() for name in names)


def _final_path(bank: str, sample_id: int) -> str:
    return f"{bank}/{sample_id:03d}-final.npy"


def _write(run: RunFolder, bank: str, clip: GeneratedClip) -> Path:
    if bank != SECOND:
        # float16 keeps 66 dB of the trajectory at half the size; the final latents are exact.
        largest = float(np.finfo(np.float16).max)
        latents = np.clip(clip.latents, -largest, largest).astype(np.float16)
        run.write_array(latents_path(bank, clip.sample_id), latents)
        run.write_array(_final_path(bank, clip.sample_id), clip.latents[-1])
    return write_clip(run.file(clip_path(bank, clip.sample_id)), clip.audio)


def final_latents(run: RunFolder, bank: str, sample_id: int) -> NDArray[np.float32]:
    """Latents after the last step."""
    latents: NDArray[np.float32] = run.read_array(_final_path(bank, sample_id))
    return latents


def calibration_folder(study: StudyContext) -> CalibrationFolder:
    """Where the run's calibration lies."""
    return CalibrationFolder(path=study.run.path / CALIBRATION)


def calibrate_stage(study: StudyContext, plan: QuantPlan) -> CalibrationStats:
    """Measure activation statistics where the plan needs them; empty where it does not."""
    if not needs_calibration(plan):
        return {}
    folder = calibration_folder(study)
    if not folder.serves(plan):
        with study.timed(Stage.CALIBRATE):
            _calibrate(study, plan, folder)
    return folder.stats()


def _calibrate(study: StudyContext, plan: QuantPlan, folder: CalibrationFolder) -> None:
    wanted = study.config.calibration
    if wanted.reused:
        folder.reuse(wanted, plan, study.adm.source_hash)
        return
    shipped = shipped_calibration(study.adm, study.settings, wanted, plan)
    if shipped is not None:
        folder.copy_from(shipped)
        return
    calibrator = Calibrator(
        adm=study.adm,
        sampling=study.settings,
        wanted=wanted,
        batch_size=study.config.batch_size,
        progress=lambda done, total: study.tell(Stage.CALIBRATE, done, total),
        should_stop=study.should_stop,
    )
    folder.write(calibrator(plan))


def _rounded(
    study: StudyContext, plan: QuantPlan, stats: CalibrationStats
) -> dict[str, QuantizedWeight]:
    """Codes of the weights that are rounded by what calibration saw."""
    if not any(map(rounds_by_data, plan.quantized)):
        return {}
    replay = Replay(
        adm=study.adm,
        states=calibration_folder(study).states(Purpose.RECONSTRUCTION),
        progress=lambda done, total: study.tell(Stage.QUANTIZE, done, total + 1),
        should_stop=study.should_stop,
    )
    return rounded_weights(replay, plan, stats)


def quantize_stage(
    study: StudyContext, plan: QuantPlan, stats: CalibrationStats
) -> AudioDiffusionModel:
    """Quantize a copy of the model, or load it where it was packed before."""
    folder = study.run.path / PACKED
    with study.timed(Stage.QUANTIZE):
        quantized = _packed(study.adm, folder, plan)
        if quantized is None:
            weights = _rounded(study, plan, stats)
            quantized = copy.deepcopy(study.adm)
            quantize_(
                quantized.parts(), plan, stats, weights=weights, should_stop=study.should_stop
            )
            save_packed(folder, quantized.parts(), plan)
    study.tell(Stage.QUANTIZE, 1, 1, folder)
    return quantized


def correct_stage(study: StudyContext, quantized: AudioDiffusionModel) -> Correct | None:
    """What the sampler undoes of the quantization noise; ``None`` where nobody asked for it.

    It is fitted on prompts that neither ranges nor rounding rest on.
    """
    if not study.config.corrected:
        return None
    path = study.run.path / PACKED / CORRECTION
    if not path.exists():
        with study.timed(Stage.QUANTIZE):
            write_tensors(path, _fitted(study, quantized).to_tensors())
    return read_tensors(path, SamplerCorrection.from_tensors)


def _fitted(study: StudyContext, quantized: AudioDiffusionModel) -> SamplerCorrection:
    folder = calibration_folder(study)
    held_out = HeldOut(
        adm=study.adm,
        sampling=study.settings,
        apart_from=folder.manifest().prompts if folder.exists() else (),
        batch_size=study.config.batch_size,
        should_stop=study.should_stop,
    )
    states = held_out(Purpose.VALIDATION, _STATES_A_STEP * study.settings.steps)
    full, close = (
        Replay(adm=adm, states=states, should_stop=study.should_stop)
        for adm in (study.adm, quantized)
    )
    return fit_correction(full, close)


def _packed(adm: AudioDiffusionModel, folder: Path, plan: QuantPlan) -> AudioDiffusionModel | None:
    """The model as packed before; nothing if that is missing, damaged or of another plan."""
    try:
        if packed_plan(folder).sha256 != plan.sha256:
            return None
        quantized = copy.deepcopy(adm)
        load_packed(folder, quantized.parts())
    except CheckpointError:
        return None
    return quantized


def read_bank(study: StudyContext, bank: str) -> tuple[AudioClip, ...]:
    """Every clip of a bank as it was generated: NaN where it had no sound to write."""
    paths = (study.run.path / clip_path(bank, i) for i in range(len(study.config.prompts)))
    return tuple(map(read_generated, paths))
