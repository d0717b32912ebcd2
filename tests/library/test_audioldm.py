"""The AudioLDM adapter against a tiny random checkpoint in the published layout."""

import copy
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ptq.adms.attention import PROBABILITIES
from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import AudioDiffusionModel, layers_of
from ptq.adms.loading import load_adm
from ptq.adms.registry import find_adm
from ptq.adms.sampling import NoiseTape, Sampler, SamplingSettings
from ptq.adms.vocoders.istft import IstftVocoder, IstftVocoderConfig
from ptq.errors import Cancelled, ModelError
from ptq.generation import GenerationRequest, Generator
from ptq.layers import get_layer, inventory
from ptq.plan import resolve_plan
from ptq.presets import preset
from ptq.quantize import quantize_

SETTINGS = SamplingSettings(steps=3, guidance=2.5, seconds=0.64)
PROMPTS = ("a dog barks", "rain falls", "a bell", "wind", "someone walks", "a horn", "x", "a cat")


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint that a test may damage."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def latents(adm: AudioLDM, x_rows: int = 2) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Noise and the conditioning of one branch for it."""
    x = NoiseTape(0)(range(x_rows), -1, adm.latent_shape(x_rows, SETTINGS.seconds)[1:])
    return x, adm.encode(PROMPTS[:x_rows]).cond


def test_the_adapter_follows_the_protocol(tiny_adm: AudioLDM) -> None:
    adm: AudioDiffusionModel = tiny_adm
    assert isinstance(adm, AudioDiffusionModel)
    assert list(adm.parts()) == ["text_encoder", "denoiser", "vae", "vocoder"]
    x, cond = latents(tiny_adm)
    assert tuple(x.shape) == adm.latent_shape(2, SETTINGS.seconds) == (2, 8, 16, 16)
    times = adm.schedule(3)
    assert list(times) == sorted(times, reverse=True)
    with torch.inference_mode():
        prediction = adm.denoise(x, times[0], cond)
        stepped = adm.step(prediction, times[0], x, None)
    assert prediction.shape == stepped.shape == x.shape
    waves = adm.vocode(adm.decode(stepped))
    assert waves.shape[1] >= SETTINGS.seconds * adm.spec.sample_rate_hz
    assert torch.isfinite(waves).all()
    assert not any(p.requires_grad for part in adm.parts().values() for p in part.parameters())


def test_text_embeddings_have_unit_length_and_do_not_depend_on_their_neighbours(
    tiny_adm: AudioLDM,
) -> None:
    both, alone = tiny_adm.encode(PROMPTS), tiny_adm.encode(PROMPTS[:1])
    torch.testing.assert_close(both.cond["class_labels"].norm(dim=-1), torch.ones(8))
    assert torch.equal(both.cond["class_labels"][:1], alone.cond["class_labels"])
    assert not torch.equal(both.cond["class_labels"][0], both.cond["class_labels"][1])
    assert torch.equal(both.uncond["class_labels"][0], alone.uncond["class_labels"][0])


def test_guidance_extrapolates_from_the_null_prompt(tiny_adm: AudioLDM) -> None:
    uncond, cond = torch.tensor([1.0]), torch.tensor([3.0])
    assert tiny_adm.guide(uncond, cond, 1.0).item() == 3.0
    assert tiny_adm.guide(uncond, cond, 2.5).item() == 6.0


def test_an_empty_plan_changes_no_sample(tiny_adm: AudioLDM) -> None:
    adm = copy.deepcopy(tiny_adm)
    plan = resolve_plan(preset("fp"), layers_of(adm))
    quantize_(adm.parts(), plan)
    request = GenerationRequest(prompts=PROMPTS[:2], seed=4, settings=SETTINGS)
    for full, kept in zip(
        Generator(adm=tiny_adm)(request), Generator(adm=adm)(request), strict=True
    ):
        assert (full.latents == kept.latents).all()
        assert (full.audio.samples == kept.audio.samples).all()
        assert full.audio.seconds == SETTINGS.seconds


def test_a_batch_of_eight_gives_the_clips_of_eight_batches_of_one(tiny_adm: AudioLDM) -> None:
    request = GenerationRequest(prompts=PROMPTS, seed=0, settings=SETTINGS)
    together = list(Generator(adm=tiny_adm, batch_size=8)(request))
    alone = list(Generator(adm=tiny_adm, batch_size=1)(request))
    for a, b in zip(together, alone, strict=True):
        assert abs(a.latents - b.latents).max() < 1e-4
        assert abs(a.audio.samples - b.audio.samples).max() < 1e-4


def test_noise_belongs_to_its_sample_and_step() -> None:
    tape, shape = NoiseTape(7), (8, 16, 16)
    noise = tape([5, 2, 9], 3, shape)
    assert torch.equal(noise[1], tape([2], 3, shape)[0])
    others = (tape([2], 4, shape), NoiseTape(8)([2], 3, shape), noise[:1])
    assert not any(torch.equal(noise[1], other[0]) for other in others)
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05


def test_sampling_stops_before_the_next_step(tiny_adm: AudioLDM) -> None:
    seen: list[int] = []
    sampler = Sampler(
        adm=tiny_adm,
        settings=SETTINGS,
        on_step=lambda step, _: seen.append(step),
        should_stop=lambda: len(seen) == 2,
    )
    with pytest.raises(Cancelled, match="step 3 of 3"):
        sampler(tiny_adm.encode(PROMPTS[:1]), NoiseTape(0), [0])
    assert seen == [0, 1]


def test_observing_attention_changes_nothing_and_sees_probabilities(tiny_adm: AudioLDM) -> None:
    x, cond = latents(tiny_adm)
    sites = [i for i in inventory(tiny_adm.parts()) if i.name.endswith(PROBABILITIES)]
    seen: list[Tensor] = []
    with torch.inference_mode():
        fused = tiny_adm.denoise(x, 500, cond)
        handles = [
            get_layer(tiny_adm.parts(), site.name).register_forward_hook(
                lambda _module, inputs, _output: seen.append(inputs[0])
            )
            for site in sites
        ]
        explicit = tiny_adm.denoise(x, 500, cond)
        for handle in handles:
            handle.remove()
        assert torch.equal(fused, tiny_adm.denoise(x, 500, cond))
    torch.testing.assert_close(explicit, fused, rtol=1e-4, atol=1e-5)
    assert len(seen) == len(sites) > 0
    for probabilities in seen:
        assert probabilities.min() >= 0
        torch.testing.assert_close(
            probabilities.sum(dim=-1), torch.ones(probabilities.shape[:-1]), rtol=1e-4, atol=1e-5
        )


def test_splits_lie_where_the_up_blocks_concatenate(tiny_adm: AudioLDM) -> None:
    """The first ``split`` channels of a resnet's input are what the module before it put out."""
    unet, splits = tiny_adm.unet, tiny_adm.splits()
    resnets = {
        f"denoiser.up_blocks.{b}.resnets.{r}": resnet
        for b, block in enumerate(unet.up_blocks)
        for r, resnet in enumerate(block.resnets)
    }
    hidden: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}
    last: list[Tensor] = []

    def remember(_module: nn.Module, _inputs: tuple[Tensor, ...], output: object) -> None:
        last.append(output if isinstance(output, Tensor) else output[0])  # type: ignore[index]

    def arrive(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            hidden[name], given[name] = last[-1], inputs[0]

        return hook

    before = [unet.mid_block.resnets[-1], *resnets.values()]
    for block in unet.up_blocks:
        before += [*(block.upsamplers or []), *getattr(block, "attentions", [])]
    handles = [module.register_forward_hook(remember) for module in before]
    handles += [r.register_forward_pre_hook(arrive(name)) for name, r in resnets.items()]
    x, cond = latents(tiny_adm)
    with torch.inference_mode():
        tiny_adm.denoise(x, 500, cond)
    for handle in handles:
        handle.remove()
    assert set(splits) == {f"{n}.{layer}" for n in resnets for layer in ("conv1", "conv_shortcut")}
    for name in resnets:
        split = splits[f"{name}.conv1"]
        assert split == hidden[name].shape[1] < given[name].shape[1]
        assert torch.equal(given[name][:, :split], hidden[name])


def edit_index(folder: Path, key: str, value: object) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, key: value}))


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_tensor(path: Path) -> None:
    tensors = load_file(path)
    tensors.pop(max(tensors))
    save_file(tensors, path, metadata={"format": "pt"})


def edit_config(component: Path, key: str, value: object) -> None:
    path = component / "config.json"
    assert key in json.loads(path.read_text())
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))


def cut_pickle(folder: Path) -> None:
    """A download of older weights that broke off."""
    weights = folder / "vocoder" / "model.safetensors"
    torch.save(load_file(weights), folder / "vocoder" / "pytorch_model.bin")
    weights.unlink()
    halve(folder / "vocoder" / "pytorch_model.bin")


UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model_index.json").unlink(), "has no model_index.json; name a folder"),
        (lambda f: (f / "model_index.json").write_text("{"), "is damaged .*; download the folder"),
        (lambda f: (f / "model_index.json").write_text("[]"), "missing: scheduler.*; name one"),
        (lambda f: shutil.rmtree(f / "vae"), "missing: vae.*; name one whose"),
        (lambda f: edit_index(f, "_class_name", "OtherPipeline"), "OtherPipeline.*; name one"),
        (lambda f: edit_index(f, "vocoder", ["x", "BigVGAN"]), "'BigVGAN'.*reads IstftVocoder"),
        (lambda f: edit_index(f, "vocoder", None), "class None is unknown.*reads IstftVocoder"),
        (lambda f: edit_index(f, "vocoder", []), "class None is unknown.*reads IstftVocoder"),
        (lambda f: (f / UNET).unlink(), "'unet' cannot be read.*; download"),
        (lambda f: halve(f / UNET), "'unet' cannot be read.*; download"),
        (lambda f: halve(f / TEXT), "'text_encoder' cannot be read.*; download"),
        (lambda f: edit_config(f / "unet", "cross_attention_dim", 24), "'unet' cannot be read"),
        (lambda f: edit_config(f / "text_encoder", "hidden_size", 8), "'text_encoder' cannot"),
        (cut_pickle, "'vocoder' cannot be read"),
        (lambda f: drop_tensor(f / UNET), "'unet' in .* lacks .*; download"),
        (lambda f: drop_tensor(f / TEXT), "'text_encoder' in .* lacks .*; download"),
        (lambda f: [p.unlink() for p in (f / "tokenizer").iterdir()], "no vocabulary; download"),
        (lambda f: (f / "scheduler/scheduler_config.json").write_text("{"), "'scheduler' cannot"),
    ],
)
def test_a_bad_folder_is_refused_with_the_way_out(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=message):
        AudioLDM("bad", folder)


def test_a_local_folder_is_of_the_family_that_its_pipeline_says(folder: Path) -> None:
    (folder / "tokenizer" / ".checkpoints").mkdir()  # of an editor, and none of its files
    assert find_adm("mine", {"mine": folder}).family == "audioldm"
    assert load_adm(find_adm("mine", {"mine": folder})).family == "audioldm"
    edit_index(folder, "_class_name", "MusicPipeline")
    card = find_adm("mine", {"mine": folder})
    assert card.family == "MusicPipeline"
    with pytest.raises(ModelError, match="no adapter; this version loads audioldm"):
        load_adm(card)


def test_pickled_code_is_refused(folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return (Path.mkdir, (folder / "executed",))  # type: ignore[return-value]

    (folder / "vocoder" / "model.safetensors").unlink()
    torch.save({"conv_pre.bias": Evil()}, folder / "vocoder" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="'vocoder' cannot be read"):
        AudioLDM("evil", folder)
    assert not (folder / "executed").exists()


def test_older_uploads_with_bin_weights_load_the_same(folder: Path, tiny_adm: AudioLDM) -> None:
    for part in ("unet", "vae", "text_encoder", "vocoder"):
        (weights,) = (folder / part).glob("*.safetensors")
        stem = "diffusion_pytorch_model" if part in {"unet", "vae"} else "pytorch_model"
        torch.save(load_file(weights), folder / part / f"{stem}.bin")
        weights.unlink()
    adm = AudioLDM("old", folder)
    assert adm.source_hash != tiny_adm.source_hash
    for part, module in tiny_adm.parts().items():
        state = adm.parts()[part].state_dict()
        assert all(torch.equal(state[key], value) for key, value in module.state_dict().items())


def test_a_frame_rate_vocoder_serves_the_same_adapter(folder: Path) -> None:
    torch.manual_seed(0)
    shutil.rmtree(folder / "vocoder")
    vocoder = IstftVocoder(IstftVocoderConfig(width=32, hidden=48, n_blocks=1))
    vocoder.save_pretrained(folder / "vocoder")
    edit_index(folder, "vocoder", ["ptq", "IstftVocoder"])
    adm = AudioLDM("embedded", folder)
    clip = next(Generator(adm=adm)(GenerationRequest(prompts=("x",), seed=0, settings=SETTINGS)))
    assert clip.audio.seconds == SETTINGS.seconds
    assert clip.audio.sample_rate_hz == 16_000
    halve(folder / "vocoder" / "model.safetensors")
    with pytest.raises(ModelError, match="'vocoder' cannot be read"):
        AudioLDM("embedded", folder)
