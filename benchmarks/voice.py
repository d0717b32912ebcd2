"""What the embedded voice reaches, each figure beside the same figure of real corpus clips.

``python -m benchmarks.voice [--seeds 8] [--pairs 128]``
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from assets.recipe.contact_sheet import log_mel
from assets.recipe.corpus import SEED_OF, render_scene, single_source_clip
from assets.recipe.mel import normalised_mel
from assets.recipe.voice_card import write_voice_card
from benchmarks.clips import CACHE, SETTINGS, ClipBank
from benchmarks.records import write_results
from benchmarks.voice_checks import Clips, cuts_found, defects, repeated, spread
from ptq.adms.audioldm import AudioLDM
from ptq.adms.loading import load_adm
from ptq.adms.registry import ADMS_FOLDER, find_adm
from ptq.adms.sampling import NoiseTape, Sampler
from ptq.memory import keep_freed_memory
from ptq.metrics import frechet_distance
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.metrics.embed.judge import Judge
from ptq.prompts.grammar import Prompt, draw_prompt
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.scene import Relation
from ptq.report_markdown import table

CARD_FOLDER = ADMS_FOLDER / "mini-audioldm"
_FIRST = SEED_OF["tests"]
_SEED = 11
# Of every fifth source one prompt is heard with eight noises.
_NOISES, _SOURCES_APART = 8, 5


def single_prompts(per_source: int) -> list[Prompt]:
    """One-source prompts with drawn attributes, the same for real and generated clips."""
    return [
        Prompt(text=clip.text, scene=clip.scene)
        for source in default_lexicon().embedded
        for k in range(per_source)
        for clip in [single_source_clip(source.id, _FIRST + 1000 + k, seconds=0.8)]
    ]


def pair_prompts(count: int, seed: int = _FIRST) -> list[Prompt]:
    """Two-event prompts of the grammar, from a seed on."""
    found: list[Prompt] = []
    while len(found) < count:
        prompt = draw_prompt(seed)
        seed += 1
        scene = prompt.scene
        if scene is not None and len(scene.events) == 2:
            found.append(prompt)
    return found


def real_clips(prompts: Sequence[Prompt]) -> Clips:
    """The corpus's own rendering of the same scenes."""
    return [
        render_scene(p.scene, np.random.default_rng([77, i]), SETTINGS.seconds)
        for i, p in enumerate(prompts)
        if p.scene is not None
    ]


def resynthesis(adm: AudioLDM, clips: Clips) -> Clips:
    """Clips through autoencoder and vocoder, without the denoiser."""
    out: Clips = []
    with torch.inference_mode():
        for clip in clips:
            mel = normalised_mel(torch.from_numpy(clip)[None])[:, None]
            latents = adm.vae.encode(mel).latent_dist.mode()
            samples = adm.vocode(adm.vae.decode(latents).sample[:, 0])
            out.append(samples[0].numpy()[: len(clip)])
    return out


def top1(judge: Judge, clips: Clips, prompts: Sequence[Prompt]) -> NDArray[np.bool_]:
    """Whether the judge names the source of each clip."""
    named = judge.probabilities(clips).argmax(axis=1)
    asked = np.array([_source_index(judge, p)[0] for p in prompts])
    hits: NDArray[np.bool_] = named == asked
    return hits


def both_in_top3(judge: Judge, clips: Clips, prompts: Sequence[Prompt]) -> dict[str, float]:
    """Share of two-event clips whose sources are both among the judge's first three."""
    ranked = np.argsort(-judge.probabilities(clips), axis=1)[:, :3]
    hits = np.array(
        [set(_source_index(judge, p)) <= set(row) for p, row in zip(prompts, ranked, strict=True)]
    )
    relations = np.array([p.scene.relation is Relation.THEN for p in prompts if p.scene])
    return {
        "both sources in top 3": float(hits.mean()),
        "both sources in top 3, one after the other": float(hits[relations].mean()),
        "both sources in top 3, at once": float(hits[~relations].mean()),
    }


def _source_index(judge: Judge, prompt: Prompt) -> list[int]:
    return [] if prompt.scene is None else [judge.sources.index(s) for s in prompt.scene.sources]


def matched_share(ear: Ear, clips: Clips, prompts: Sequence[Prompt]) -> float:
    """Share of clips that score higher with their caption than with another clip's."""
    texts = [p.text for p in prompts]
    shifted = texts[len(texts) // 2 :] + texts[: len(texts) // 2]
    return float(np.mean(ear.text_score(clips, texts) > ear.text_score(clips, shifted)))


def family_distance(ear: Ear, clips: Clips, prompts: Sequence[Prompt]) -> float:
    """Mean Fréchet distance between two families of real clips."""
    lexicon = default_lexicon()
    family = np.array([lexicon[p.scene.sources[0]].family for p in prompts if p.scene is not None])
    found = ear.embed(clips)
    names = sorted(set(family))
    values = [
        frechet_distance(found[family == a], found[family == b])
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    return float(np.mean(values))


def real_time_factor(adm: AudioLDM) -> float:
    """Seconds of computing per second of sound: one batch of eight, 20 steps with guidance."""
    conditioning = adm.encode(["a dog barks"] * 8)
    sampler = Sampler(adm=adm, settings=SETTINGS)
    sampler(conditioning.rows(0, 1), NoiseTape(0), [0])
    start = time.perf_counter()
    adm.vocode(adm.decode(sampler(conditioning, NoiseTape(0), range(8))))
    return (time.perf_counter() - start) / (8 * SETTINGS.seconds)


def confusion(named: NDArray[np.int64], n: int, per_source: int) -> NDArray[np.int64]:
    """Counts ``(asked, named)``."""
    matrix = np.zeros((n, n), dtype=np.int64)
    np.add.at(matrix, (np.repeat(np.arange(n), per_source), named), 1)
    return matrix


def draw_confusion(matrix: NDArray[np.int64], sources: Sequence[str], path: Path) -> None:
    """Draw asked against named sources."""
    figure = Figure(figsize=(12, 11), layout="constrained")
    axes = figure.subplots()
    axes.imshow(matrix, cmap="magma")
    axes.set_xticks(range(len(sources)), sources, rotation=90, fontsize=8)
    axes.set_yticks(range(len(sources)), sources, fontsize=8)
    axes.set_xlabel("named by the judge")
    axes.set_ylabel("asked for")
    figure.savefig(path, dpi=70)


def draw_pairs(real: Clips, made: Clips, sources: Sequence[str]) -> None:
    """Draw a real and a generated clip of every source side by side, to be looked at."""
    figure = Figure(figsize=(24, 26), layout="constrained")
    grid = figure.subplots(11, 8)
    for i, source in enumerate(sources):
        for j, clip in enumerate((real[i], made[i])):
            axes = grid[i // 4][2 * (i % 4) + j]
            axes.imshow(
                log_mel(clip.astype(np.float64)), origin="lower", aspect="auto", vmin=-11, vmax=2
            )
            axes.set_title(f"{source}: {('real', 'generated')[j]}", fontsize=9)
            axes.axis("off")
    CACHE.mkdir(parents=True, exist_ok=True)
    figure.savefig(CACHE / "voice.png", dpi=50)


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """Prompts, and the real and the generated clips of each."""

    single: Sequence[Prompt]
    pairs: Sequence[Prompt]
    real: Clips
    real_pairs: Clips
    real_again: Clips
    made: Clips
    made_pairs: Clips
    made_again: Clips

    @classmethod
    def gather(cls, adm: AudioLDM, per_source: int, n_pairs: int) -> "Material":
        """Render the real clips and generate the others, or read those that are there."""
        single, pairs = single_prompts(per_source), pair_prompts(n_pairs)
        again = repeated(single, _NOISES, every=per_source * _SOURCES_APART)
        made, made_pairs, made_again = (
            ClipBank(name=name, adm=adm, prompts=tuple(p.text for p in asked), seed=_SEED)
            for name, asked in (
                (f"single{per_source}", single),
                (f"pairs{n_pairs}", pairs),
                ("again", again),
            )
        )
        return cls(
            single=single,
            pairs=pairs,
            real=real_clips(single),
            real_pairs=real_clips(pairs),
            real_again=real_clips(again),
            made=made.samples(),
            made_pairs=made_pairs.samples(),
            made_again=made_again.samples(),
        )


def figures_of(
    material: Material, ear: Ear, judge: Judge, per_source: int
) -> dict[str, dict[str, float]]:
    """Every figure that real clips have as well."""
    figures: dict[str, dict[str, float]] = {}
    m = material
    for kind, clips, pairs, again in (
        ("generated", m.made, m.made_pairs, m.made_again),
        ("real", m.real, m.real_pairs, m.real_again),
    ):
        figures[kind] = {
            "source named (top 1)": float(top1(judge, clips, m.single).mean()),
            **both_in_top3(judge, pairs, m.pairs),
            "caption matched above mismatched": matched_share(ear, clips, m.single),
            "FD to the reference bank": frechet_distance(ear.bank, ear.embed(clips + pairs)),
            "mean FD between two families": family_distance(ear, clips, m.single),
            "spread within a source": spread(ear, clips, per_source),
            "spread within a prompt": spread(ear, again, _NOISES),
            "silent, clipped, cut or NaN clips": defects([*clips, *pairs, *again]),
            "of clips cut in half, found": cuts_found(clips),
        }
    return figures


def main() -> None:
    """Generate, judge, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8, help="clips per source")
    parser.add_argument("--pairs", type=int, default=128, help="two-event prompts")
    arguments = parser.parse_args()
    keep_freed_memory()  # as the command line and the page do
    adm = load_adm(find_adm("mini-audioldm"))
    ear, judge = find_ear(), Judge.load()
    if not isinstance(adm, AudioLDM) or not isinstance(ear, Ear):
        raise SystemExit(f"The voice is scored with the shipped ear: {ear}")
    material = Material.gather(adm, arguments.seeds, arguments.pairs)
    figures = figures_of(material, ear, judge, arguments.seeds)
    resynthesised = top1(judge, resynthesis(adm, material.real), material.single)
    sources = [source.id for source in default_lexicon().embedded]
    named = judge.probabilities(material.made).argmax(axis=1)
    matrix = confusion(named, len(sources), arguments.seeds)
    draw_confusion(matrix, sources, CARD_FOLDER / "confusion.png")
    draw_pairs(material.real[:: arguments.seeds], material.made[:: arguments.seeds], sources)
    result = {
        "model": adm.source_hash,
        "ear": ear.sha256,
        "judge": judge.sha256,
        "seeds_per_source": arguments.seeds,
        "pairs": arguments.pairs,
        "figures": figures,
        "top1_after_resynthesis": float(resynthesised.mean()),
        "real_time_factor": real_time_factor(adm),
        "confusion": {"sources": sources, "counts": matrix.tolist()},
    }
    path = write_results("voice", result)
    write_voice_card(CARD_FOLDER, result)
    show(result)
    print(path)


def show(result: Mapping[str, Any]) -> None:
    """Print the table and the weakest sources."""
    generated, real = result["figures"]["generated"], result["figures"]["real"]
    rows = [(name, f"{value:.3f}", f"{real[name]:.3f}") for name, value in generated.items()]
    for name in ("top1_after_resynthesis", "real_time_factor"):
        rows.append((name.replace("_", " "), f"{result[name]:.3f}", ""))
    print(table(("figure", "generated", "real"), rows))
    sources, counts = result["confusion"]["sources"], result["confusion"]["counts"]
    shares = sorted((row[i] / sum(row), sources[i]) for i, row in enumerate(counts))
    print("weakest:", ", ".join(f"{source} {share:.2f}" for share, source in shares[:12]))


if __name__ == "__main__":
    main()
