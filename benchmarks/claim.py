"""The paper's claim, method by method: ``python -m benchmarks.claim [--pairs 512 --many 1024]``.

Every method quantizes the same model and is scored with the same prompts of suite B, the same
noise and the same second-seed bank: another draw and other noise than those of
``benchmarks.presets``, on which plans were looked at while they were made (nine in a hundred texts
come again). Full precision, w8a8 and this work's two rows are scored on more pairs, which begin
with those of the others, and once on as many as those, for their verdicts to compare. Size counts
the whole packed pipeline and the denoiser alone. Finished methods are kept: an interrupted run
resumes.

``PTQ4ADM`` is what the allocator makes of the shipped sensitivities in a fifth of fp32's bytes, and
``ptq4adm`` the preset, which knows its layers by their names.
"""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

from assets.recipe.gallery import default_calibration, plan_of, quantized_copy
from benchmarks.allocations import allocator_of, rebuilt
from benchmarks.clips import BLOCK, SETTINGS
from benchmarks.presets import PlanBench, fd_cells, finished_rows, show_notes
from benchmarks.records import texts_hash, write_results
from benchmarks.sizes import denoiser_bytes, denoiser_reduction_pct, size_of, values_of
from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.loading import load_adm
from ptq.adms.placed import device_name
from ptq.adms.registry import find_adm, lexicon_of
from ptq.banks import ear_id
from ptq.config import QuantConfig, parse_rules
from ptq.layer_spec import DENOISER
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.presets import preset
from ptq.prompts.suites import Suite, draw_suite
from ptq.report_markdown import megabytes, number, table
from ptq.study_config import CalibrationSettings

_FLOAT_BYTES = 4
# Weights of the other parts take 8 bits in every method but fp: they are not what is compared.
REST = (
    "text_encoder*.* = w8 optional\nvae.* = w8 optional\nvocoder.* = w8 optional\n* = keep optional"
)
# Prompts and noise that judge once, here and in the benchmarks that go on from here.
FRESH = 700
Q_DIFFUSION = "Q-Diffusion style"
# Rules of the denoiser at any bits; ``benchmarks.lowest`` asks how few of them do.
RIVALS = MappingProxyType(
    {
        "nearest": "denoiser.* = w{bits} channel sym a8 optional",
        "MSE": "denoiser.* = w{bits} channel asym mse a8 optional",
        # AdaRound and shortcuts whose halves have ranges of their own (their weights share
        # scales), first and last layers at 8 bits.
        Q_DIFFUSION: (
            "denoiser.conv_in = w8 a8\ndenoiser.conv_out = w8 a8\n"
            "denoiser.* = w{bits} channel asym mse adaround a8 optional"
        ),
    }
)
_OF_FOUR_BITS = {"w4a8, nearest": "nearest", "w4a8, MSE": "MSE", Q_DIFFUSION: Q_DIFFUSION}

HEADER = (
    *("method", "packed", "below fp32", "denoiser", "below fp32"),
    *("FD increase", "95 % interval", "verdict", "on as many pairs", "verdict"),
    *("latent SQNR", "log-mel gap", "divergence index", "pairs"),
)
OURS, REBUILT = "PTQ4ADM", "PTQ4ADM + reconstruction"
SCORED_ON_MANY = ("fp", "w8a8", OURS, REBUILT)
# A little more than the four fifths that are claimed: indices differ in length.
_BELOW_FP32 = 0.802


def methods(ours: QuantConfig) -> Mapping[str, QuantConfig]:
    """Every method as rules, by name.

    Args:
        ours: The allocated plan; it stands as it is, and with its blocks rebuilt.
    """
    made = {
        name: QuantConfig(name=name, rules=parse_rules(f"{RIVALS[rival].format(bits=4)}\n{REST}"))
        for name, rival in _OF_FOUR_BITS.items()
    }
    return MappingProxyType(
        {
            "fp": preset("fp"),
            "w8a8": preset("w8a8"),
            **made,
            "ptq4adm": preset("ptq4adm"),
            OURS: ours,
            REBUILT: rebuilt(ours, REBUILT),
        }
    )


def calibration_of(name: str) -> CalibrationSettings:
    """What a method is calibrated on: its own uniform states of drawn prompts, or the default."""
    if name == Q_DIFFUSION:
        return CalibrationSettings(strategy="uniform", covering=False)
    return CalibrationSettings()


def allocated(adm: AudioDiffusionModel) -> QuantConfig:
    """The best plan that puts the whole packed pipeline below a fifth of fp32's bytes."""
    config = preset("w8a8")
    plan, values = plan_of(adm, config), values_of(adm)
    other = quantized_copy(adm, config, default_calibration(adm, SETTINGS))
    # What a plan does not count, norms and the file's index, is alike in all plans.
    beside = size_of(other, plan, values)["size_bytes"] - plan.size_bytes(layers_of(adm))
    most = (1 - _BELOW_FP32) * _FLOAT_BYTES * values - beside
    return allocator_of(adm)(int(most), OURS).config()


def main() -> None:
    """Generate, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--many", type=int, default=1024, help="pairs of the most important rows")
    parser.add_argument("--adm", default="mini-audioldm")
    parser.add_argument("--methods", nargs="+", help="their names; all of them if left out")
    arguments = parser.parse_args()
    if arguments.many > arguments.pairs and arguments.pairs % BLOCK:
        parser.error(f"--pairs has to be a multiple of {BLOCK} for its clips to begin --many's")
    adm, ear = load_adm(find_adm(arguments.adm)), find_ear()
    if not isinstance(ear, Ear):
        raise SystemExit(f"Methods are scored with the shipped ear: {ear}")
    most = max(arguments.pairs, arguments.many)
    prompts = draw_suite(Suite.FINAL, most, FRESH, lexicon_of(adm.id))
    configs = methods(allocated(adm))
    wanted = arguments.methods or list(configs)
    if unknown := sorted(set(wanted) - set(configs)):
        parser.error(f"no method {unknown[0]!r}; choose of {', '.join(configs)}")
    benches = {
        name: PlanBench(
            adm=adm,
            ear=ear,
            prompts=prompts[: arguments.many if name in SCORED_ON_MANY else arguments.pairs],
            configs={name: config},
            seed=FRESH,
            wanted=calibration_of(name),
        )
        for name, config in configs.items()
    }
    what = {
        **{"adm": adm.id, "model": adm.source_hash, "ear": ear_id(ear)},
        **{"pairs": arguments.pairs, "many": arguments.many},
        "settings": {**asdict(SETTINGS), "seed": FRESH},
        **{"texts": texts_hash(prompt.text for prompt in prompts), "device": device_name()},
    }
    rows = {
        name: row
        for bench in benches.values()
        for name, row in finished_rows("claim", what, bench).items()
    }
    for name in wanted:
        if name not in rows:
            rows[name] = _row(benches[name], name, arguments.pairs)
            write_results("claim", {**what, "presets": _ordered(configs, rows)})
    found = _ordered(configs, rows)
    path = write_results("claim", {**what, "presets": found})
    print(table(HEADER, [_cells(row) for row in found]))
    show_notes(found)
    print(path)


def _row(bench: PlanBench, name: str, alike: int) -> dict[str, Any]:
    """Every figure of a method, and those on as many pairs as every other one has."""
    plan, layers = bench.plan(name), layers_of(bench.adm)
    row = bench.row(name)
    few = replace(bench, prompts=bench.prompts[:alike])
    on_few = row
    if len(few.prompts) < len(bench.prompts):
        clips = "fp" if name == "fp" else few.clips_name(plan)
        full, second = few.bank("fp", few.adm), few.bank("fp", few.adm, 1)
        # Whole blocks of the longer list: these clips are there by now, whichever model made them.
        on_few = few.scores(full, second, few.bank(clips, few.adm))
    return {
        **row,
        "alike": {key: on_few.get(key) for key in ("n", "increase_pct", "ci95_pct", "verdict")},
        "denoiser_bytes": denoiser_bytes(bench.adm, plan),
        "denoiser_reduction_pct": denoiser_reduction_pct(bench.adm, plan),
        "denoiser_weight_bits": plan.weight_bits_mean(layers, DENOISER),
    }


def _ordered(configs: Iterable[str], rows: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [rows[name] for name in configs if name in rows]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        megabytes(row["size_bytes"]),
        number(row["reduction_pct"], 1, " %"),
        megabytes(row["denoiser_bytes"]),
        number(row["denoiser_reduction_pct"], 1, " %"),
        *fd_cells(row),
        row.get("verdict", "n/a"),
        fd_cells(row["alike"])[0],
        str(row["alike"]["verdict"] or "n/a"),
        number(row["latent_sqnr_db"], 1, " dB"),
        number(row["log_mel_l1_db"], 2, " dB"),
        number(row["divergence_index"], 3),
        str(row.get("n", "n/a")),
    )


if __name__ == "__main__":
    main()
