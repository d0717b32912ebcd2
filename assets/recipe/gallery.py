"""The gallery that the page plays without computing: the same prompts at several plans."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.placed import placed
from ptq.adms.sampling import SamplingSettings
from ptq.audio import AudioClip
from ptq.banks import Banks, Ear, embed_banks
from ptq.calibration.calibrator import Calibration, Calibrator, needs_calibration
from ptq.calibration.manifest import CalibrationManifest
from ptq.calibration.purposes import Purpose
from ptq.calibration.replay import Replay
from ptq.calibration.rounding import rounded_weights
from ptq.calibration.shipped import shipped_calibration
from ptq.config import QuantConfig
from ptq.generation import GeneratedClip, GenerationRequest, Generator
from ptq.plan import QuantPlan, resolve_plan
from ptq.presets import preset
from ptq.prompts.grammar import Prompt
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.suites import Suite, draw_suite
from ptq.quantize import quantize_
from ptq.scoring import pair_embedding_scores, score_pair
from ptq.study_config import CalibrationSettings

PLANS = ("fp", "w8a8", "ptq4adm", "w3a8")
SETTINGS = SamplingSettings(steps=20, guidance=2.5, seconds=5.12)
_PER_FAMILY = 4
_SEED = 2024


def gallery_prompts(per_family: int = _PER_FAMILY) -> list[tuple[str, Prompt]]:
    """The first prompts of the final suite that begin with each family, two of them single."""
    lexicon = default_lexicon()
    chosen: dict[str, list[Prompt]] = {family: [] for family in lexicon.families}
    used: set[str] = set()
    for prompt in draw_suite(Suite.FINAL, 2000, _SEED):
        if prompt.scene is None or prompt.scene.sources[0] in used:
            continue
        row = chosen[lexicon[prompt.scene.sources[0]].family]
        single = len(prompt.scene.events) == 1
        if len(row) < per_family and single == (len(row) % 2 == 0):
            row.append(prompt)
            # Small families have fewer sources than places.
            family = lexicon.of_family(lexicon[prompt.scene.sources[0]].family)
            if sum(source.embedded for source in family) >= per_family:
                used.add(prompt.scene.sources[0])
    return [(family, prompt) for family, row in chosen.items() for prompt in row]


def plan_of(adm: AudioDiffusionModel, config: QuantConfig) -> QuantPlan:
    """Rules met with a model's layers."""
    return resolve_plan(config, layers_of(adm))


_DEFAULT = CalibrationSettings()
_CPU = torch.device("cpu")


def calibrate(
    adm: AudioDiffusionModel, settings: SamplingSettings, wanted: CalibrationSettings = _DEFAULT
) -> Calibration:
    """Statistics and states of a model that serve every preset, measured anew."""
    calibrator = Calibrator(adm=adm, sampling=settings, wanted=wanted)
    return calibrator(_uniform_plan(adm))


def default_calibration(adm: AudioDiffusionModel, settings: SamplingSettings) -> Calibration:
    """The default ones, as they ship where they do: what the model's users get."""
    shipped = shipped_calibration(adm, settings, _DEFAULT, _uniform_plan(adm))
    return calibrate(adm, settings) if shipped is None else shipped.calibration()


def _uniform_plan(adm: AudioDiffusionModel) -> QuantPlan:
    # No layer of the denoiser goes without a range: what serves this plan serves every preset.
    return plan_of(adm, preset("w8a8"))


def quantized_copy(
    adm: AudioDiffusionModel,
    config: QuantConfig,
    calibration: Calibration,
    device: torch.device = _CPU,
) -> AudioDiffusionModel:
    """A quantized copy of a model.

    Args:
        adm: The model.
        config: Rules for it.
        calibration: What statistics and rounding rest on.
        device: Where rounding that looks at data computes.
    """
    plan = plan_of(adm, config)
    states = calibration.sets[Purpose.RECONSTRUCTION]
    replay = Replay(adm=placed(adm, device), states=states)
    weights = rounded_weights(replay, plan, calibration.stats)
    other, here = copy.deepcopy(adm), {name: weight.cpu() for name, weight in weights.items()}
    quantize_(other.parts(), plan, calibration.stats, weights=here)
    return other


def made_of(plan: QuantPlan, calibration: CalibrationManifest) -> dict[str, str]:
    """Hashes of what a quantized model depends on: its plan, and its calibration if it has one."""
    found = {"plan": plan.sha256}
    if needs_calibration(plan):
        found["calibration"] = calibration.sha256
    return found


@dataclass(frozen=True, kw_only=True)
class GalleryStage:
    """Generates and writes the gallery of one ADM."""

    adm: AudioDiffusionModel
    ear: Ear
    folder: Path

    def write(self) -> None:
        """Write clips and ``gallery.json``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        entries = gallery_prompts()
        calibration = default_calibration(self.adm, SETTINGS)
        prompts = tuple(prompt.text for _, prompt in entries)
        adms = {plan: self._adm(plan, calibration) for plan in PLANS}
        made = {plan: _generate(adm, prompts, _SEED) for plan, adm in adms.items()}
        second = _generate(self.adm, prompts, _SEED + 1)
        figures = {
            plan: self._figures(prompts, made["fp"], second, made[plan]) for plan in PLANS[1:]
        }
        items = [
            self._item(i, *entry, {plan: made[plan][i] for plan in PLANS})
            | {"paired": {plan: rows[i] for plan, rows in figures.items()}}
            for i, entry in enumerate(entries)
        ]
        gallery = {
            **{"adm": self.adm.id, "model": self.adm.source_hash, "plans": list(PLANS)},
            "made_of": {
                plan: made_of(plan_of(self.adm, preset(plan)), calibration.manifest)
                for plan in PLANS
            },
            "items": items,
        }
        text = json.dumps(gallery, indent=1) + "\n"
        (self.folder / "gallery.json").write_text(text, encoding="utf-8")

    def _adm(self, plan: str, calibration: Calibration) -> AudioDiffusionModel:
        return self.adm if plan == "fp" else quantized_copy(self.adm, preset(plan), calibration)

    def _item(
        self, index: int, family: str, prompt: Prompt, made: Mapping[str, GeneratedClip]
    ) -> dict[str, Any]:
        clips = {plan: f"{index:03d}-{plan}.flac" for plan in PLANS}
        for plan, name in clips.items():
            _write(self.folder / name, made[plan].audio)
        return {"prompt": prompt.text, "family": family, "seed": _SEED, "clips": clips}

    def _figures(
        self,
        prompts: tuple[str, ...],
        full: Sequence[GeneratedClip],
        second: Sequence[GeneratedClip],
        quantized: Sequence[GeneratedClip],
    ) -> list[dict[str, float]]:
        """Paired metrics of every prompt by name, without those that do not exist."""
        full_bank, second_bank, quantized_bank = (
            tuple(clip.audio for clip in bank) for bank in (full, second, quantized)
        )
        banks = Banks(prompts=prompts, full=full_bank, second=second_bank, quantized=quantized_bank)
        cosine, divergence = pair_embedding_scores(embed_banks(self.ear, banks))
        rows = []
        for i, (a, b) in enumerate(zip(full, quantized, strict=True)):
            record = score_pair(a.audio, b.audio, (a.latents[-1], b.latents[-1]))
            heard = {"embedding_cosine": float(cosine[i]), "divergence_index": float(divergence[i])}
            found = {**asdict(record), **heard}
            rows.append({name: round(v, 4) for name, v in found.items() if v is not None})
        return rows


def _generate(adm: AudioDiffusionModel, prompts: tuple[str, ...], seed: int) -> list[GeneratedClip]:
    request = GenerationRequest(prompts=prompts, seed=seed, settings=SETTINGS)
    found = []
    for clip in Generator(adm=adm)(request):
        found.append(clip)
        print(f"gallery: {len(found)}/{len(prompts)}", end="\r", flush=True)
    return found


def _write(path: Path, clip: AudioClip) -> None:
    # 16 bits are 40 dB below what 3-bit weights do, and a third of the size.
    samples = np.clip(clip.samples, -1.0, 1.0)
    soundfile.write(path, samples, clip.sample_rate_hz, subtype="PCM_16", format="FLAC")
