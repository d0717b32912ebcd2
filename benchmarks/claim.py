"""The paper's claim, method by method: ``python -m benchmarks.claim [--pairs 512]``.

Every method quantizes the same model and is scored with the same prompts of suite B, the same
noise and the same second-seed bank, which are those of ``benchmarks.presets``: clips of one plan
are generated once for both. Size counts the whole packed pipeline and the denoiser alone. Finished
methods are kept: an interrupted run resumes.
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from benchmarks.clips import SETTINGS, write_results
from benchmarks.presets import HEADER, SEED, Bench, cells, finished_rows
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm, lexicon_of
from ptq.config import QuantConfig, format_rules, parse_rules
from ptq.layer_spec import DENOISER
from ptq.layers import inventory
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.presets import preset
from ptq.prompts.suites import Suite, draw_suite
from ptq.report_markdown import table

# Weights of the other parts take 8 bits in every method but fp: they are not what is compared.
REST = (
    "text_encoder*.* = w8 optional\nvae.* = w8 optional\nvocoder.* = w8 optional\n* = keep optional"
)
_RULES = {
    "w4a8, nearest": "denoiser.* = w4 channel sym a8 optional",
    "w4a8, MSE": "denoiser.* = w4 channel asym mse a8 mse optional",
    # Uniform calibration, AdaRound and split shortcuts, first and last layers at 8 bits.
    "Q-Diffusion style": (
        "denoiser.conv_in = w8 a8\ndenoiser.conv_out = w8 a8\n"
        "denoiser.* = w4 channel asym mse adaround a8 mse optional"
    ),
}


def methods() -> Mapping[str, QuantConfig]:
    """Every method as rules, by name; two rows are this work's."""
    made = {
        name: QuantConfig(name=name, rules=parse_rules(f"{text}\n{REST}"))
        for name, text in _RULES.items()
    }
    ours = format_rules(preset("ptq4adm").rules)
    rebuilt = ours.replace(" gptq", " brecq")
    return MappingProxyType(
        {
            "fp": preset("fp"),
            "w8a8": preset("w8a8"),
            **made,
            "PTQ4ADM": QuantConfig(name="PTQ4ADM", rules=parse_rules(ours)),
            "PTQ4ADM + reconstruction": QuantConfig(name="rebuilt", rules=parse_rules(rebuilt)),
        }
    )


def main() -> None:
    """Generate, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--adm", default="mini-audioldm")
    parser.add_argument("--methods", nargs="+", default=list(methods()), choices=list(methods()))
    arguments = parser.parse_args()
    adm, ear = load_adm(find_adm(arguments.adm)), find_ear()
    if not isinstance(ear, Ear):
        raise SystemExit(f"Methods are scored with the shipped ear: {ear}")
    prompts = draw_suite(Suite.FINAL, arguments.pairs, SEED, lexicon_of(adm.id))
    bench = Bench(adm=adm, ear=ear, prompts=prompts, configs=methods())
    what = {
        **{"adm": adm.id, "model": adm.source_hash, "embedder": ear.id, "ear": ear.sha256},
        **{"n": arguments.pairs, "settings": {**asdict(SETTINGS), "seed": SEED}},
    }
    rows = finished_rows("claim", what, bench)
    layers = inventory(adm.parts(), adm.splits())
    for name in arguments.methods:
        if name not in rows:
            plan = bench.plan(name)
            denoiser = {
                "denoiser_bytes": plan.size_bytes(layers, DENOISER),
                "denoiser_weight_bits": plan.weight_bits_mean(layers, DENOISER),
            }
            rows[name] = {**bench.row(name), **denoiser}
            write_results("claim", _ordered(what, rows))
    path = write_results("claim", _ordered(what, rows))
    print(table(HEADER, [cells(row) for row in _ordered(what, rows)["presets"]]))
    print(path)


def _ordered(what: Mapping[str, Any], rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {**what, "presets": [rows[name] for name in methods() if name in rows]}


if __name__ == "__main__":
    main()
