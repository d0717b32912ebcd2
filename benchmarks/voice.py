"""What the embedded voice reaches, each figure beside the same figure of real corpus clips.

``python -m benchmarks.voice [--seeds 8] [--pairs 128]``
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from assets.recipe.corpus import SEED_OF, render_scene, single_source_clip
from benchmarks.clips import SETTINGS, ClipBank, write_results
from ptq.adms.audioldm import AudioLDM
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.adms.sampling import NoiseTape, Sampler
from ptq.metrics import clip_flags, frechet_distance
from ptq.metrics.embed.ear import Ear, find_ear
from ptq.metrics.embed.judge import Judge
from ptq.prompts.grammar import Prompt, draw_prompt
from ptq.prompts.lexicon import default_lexicon
from ptq.report_markdown import table

_FIRST = SEED_OF["tests"]
Clips = list[NDArray[np.float32]]


def single_prompts(per_source: int) -> list[Prompt]:
    """One-source prompts with drawn attributes, the same for real and generated clips."""
    return [
        Prompt(text=clip.text, scene=clip.scene)
        for source in default_lexicon().embedded
        for k in range(per_source)
        for clip in [single_source_clip(source.id, _FIRST + 1000 + k, seconds=0.8)]
    ]


def pair_prompts(count: int) -> list[Prompt]:
    """Two-event prompts of the grammar."""
    found, seed = [], _FIRST
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
    from assets.recipe.mel import normalised_mel  # noqa: PLC0415 - the recipe's front end

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
    return named == np.array([_source_index(judge, p)[0] for p in prompts])


def both_in_top3(judge: Judge, clips: Clips, prompts: Sequence[Prompt]) -> float:
    """Share of two-event clips whose sources are both among the judge's first three."""
    ranked = np.argsort(-judge.probabilities(clips), axis=1)[:, :3]
    hits = [
        set(_source_index(judge, p)) <= set(row) for p, row in zip(prompts, ranked, strict=True)
    ]
    return float(np.mean(hits))


def _source_index(judge: Judge, prompt: Prompt) -> list[int]:
    return [] if prompt.scene is None else [judge.sources.index(s) for s in prompt.scene.sources]


def matched_share(ear: Ear, clips: Clips, prompts: Sequence[Prompt]) -> float:
    """Share of clips that score higher with their caption than with another clip's."""
    texts = [p.text for p in prompts]
    shifted = texts[len(texts) // 2 :] + texts[: len(texts) // 2]
    return float(np.mean(ear.text_score(clips, texts) > ear.text_score(clips, shifted)))


def spread(ear: Ear, clips: Clips, per_source: int) -> float:
    """Mean pairwise embedding distance between the clips of one source."""
    rows = ear.embed(clips).reshape(-1, per_source, ear.dim)
    gaps = np.linalg.norm(rows[:, :, None] - rows[:, None], axis=-1)
    return float(gaps.sum() / (len(rows) * per_source * (per_source - 1)))


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


def main() -> None:
    """Generate, judge, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8, help="clips per source")
    parser.add_argument("--pairs", type=int, default=128, help="two-event prompts")
    arguments = parser.parse_args()
    adm = load_adm(find_adm("mini-audioldm"))
    ear, judge = find_ear(), Judge.load()
    if not isinstance(adm, AudioLDM) or not isinstance(ear, Ear):
        raise SystemExit(f"The voice is scored with the shipped ear: {ear}")
    single, pairs = single_prompts(arguments.seeds), pair_prompts(arguments.pairs)
    texts = tuple(p.text for p in single)
    made = ClipBank(name=f"single{arguments.seeds}", adm=adm, prompts=texts, seed=11).samples()
    made_pairs = ClipBank(
        name="pairs", adm=adm, prompts=tuple(p.text for p in pairs), seed=11
    ).samples()
    real, real_pairs = real_clips(single), real_clips(pairs)
    hit, hit_real = top1(judge, made, single), top1(judge, real, single)
    resynthesised = top1(judge, resynthesis(adm, real), single)
    flags = [clip_flags(clip) for clip in (*made, *made_pairs)]
    figures: list[tuple[str, float, float | None]] = [
        ("source named (top 1)", float(hit.mean()), float(hit_real.mean())),
        (
            "both sources in top 3",
            both_in_top3(judge, made_pairs, pairs),
            both_in_top3(judge, real_pairs, pairs),
        ),
        (
            "caption matched above mismatched",
            matched_share(ear, made, single),
            matched_share(ear, real, single),
        ),
        (
            "FD to the reference bank",
            frechet_distance(ear.bank, ear.embed(made_pairs + made)),
            frechet_distance(ear.bank, ear.embed(real_pairs + real)),
        ),
        (
            "mean FD between two families",
            family_distance(ear, made, single),
            family_distance(ear, real, single),
        ),
        ("top 1 after autoencoder and vocoder", float(resynthesised.mean()), None),
        (
            "spread within a source",
            spread(ear, made, arguments.seeds),
            spread(ear, real, arguments.seeds),
        ),
        ("silent or clipped clips", float(sum(f.silent or f.clipped or f.nan for f in flags)), 0.0),
        ("real-time factor, 20 steps, fp32", real_time_factor(adm), None),
    ]
    per_source = hit.reshape(-1, arguments.seeds).mean(axis=1)
    named = judge.probabilities(made).argmax(axis=1).reshape(-1, arguments.seeds)
    sources = [source.id for source in default_lexicon().embedded]
    confusions = {
        source: sorted({judge.sources[int(k)] for k in row} - {source})
        for source, row in zip(sources, named, strict=True)
    }
    path = write_results(
        "voice",
        {
            "model": adm.source_hash,
            "ear": ear.sha256,
            "judge": judge.sha256,
            "seeds_per_source": arguments.seeds,
            "pairs": arguments.pairs,
            "figures": {name: {"generated": a, "real": b} for name, a, b in figures},
            "top1_per_source": dict(zip(sources, map(float, per_source), strict=True)),
            "confused_with": confusions,
        },
    )
    print(
        table(
            ("figure", "generated", "real"),
            [(n, f"{a:.3f}", "" if b is None else f"{b:.3f}") for n, a, b in figures],
        )
    )
    print(
        "\nweakest:",
        ", ".join(
            f"{s} {p:.2f} ({', '.join(confusions[s])})"
            for p, s in sorted(zip(per_source, sources, strict=True))[:12]
        ),
    )
    print(path)


if __name__ == "__main__":
    main()
