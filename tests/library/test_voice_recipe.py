"""How the voice is trained: what each loss reaches, and what stays as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import ClapTextModelWithProjection, RobertaTokenizer

from assets.recipe.adversary import AdversarialVocoder
from assets.recipe.compass import Compass, places
from assets.recipe.dataset import Dataset, scene_of
from assets.recipe.denoiser import (
    PairsMoreOften,
    build_scheduler,
    build_unet,
    velocity_loss,
)
from assets.recipe.reading import Reader, ReadingStage, draw_captions
from assets.recipe.text import EMBEDDING_WIDTH, embeddings
from assets.recipe.vae import LATENT_CHANNELS, VaeStage, build_vae
from ptq.adms.registry import find_adm
from ptq.prompts.scene import Relation


@pytest.fixture
def clips() -> tuple[Tensor, Tensor]:
    """Recorded and made clips, the made ones with a gradient."""
    generator = torch.Generator().manual_seed(0)
    real, made = torch.randn((2, 2, 4000), generator=generator) * 0.1
    return real, made.requires_grad_()


def test_the_critics_learn_nothing_from_the_vocoders_losses(clips: tuple[Tensor, Tensor]) -> None:
    pair = AdversarialVocoder(nn.Identity())
    _, fooled, features = pair.losses(*clips)
    torch.autograd.backward(fooled + features)
    assert clips[1].grad is not None
    assert clips[1].grad.abs().max() > 0
    assert all(weight.grad is None for weight in pair.critics.parameters())


def test_the_vocoder_learns_nothing_from_the_critics_loss(clips: tuple[Tensor, Tensor]) -> None:
    pair = AdversarialVocoder(nn.Identity())
    critic, _, _ = pair.losses(*clips)
    torch.autograd.backward(critic)
    assert clips[1].grad is None
    assert all(weight.grad is not None for weight in pair.critics.parameters())


def test_equal_clips_have_equal_features(clips: tuple[Tensor, Tensor]) -> None:
    _, _, features = AdversarialVocoder(nn.Identity()).losses(clips[0], clips[0])
    assert features.item() == pytest.approx(0.0, abs=1e-6)


def test_the_denoisers_loss_is_that_of_the_schedulers_target() -> None:
    scheduler = build_scheduler()
    alphas = scheduler.alphas_cumprod
    latents = torch.randn((4, 8, 8, 16), generator=torch.Generator().manual_seed(1))
    seen: list[tuple[Tensor, Tensor]] = []

    class Perfect(nn.Module):
        """Knows the latents, and so the noise and the scheduler's own target."""

        def forward(self, noisy: Tensor, steps: Tensor, _: dict[str, Tensor]) -> Tensor:
            alpha = alphas[steps][:, None, None, None]
            noise = (noisy - alpha.sqrt() * latents) / (1 - alpha).sqrt()
            seen.append((noisy, steps))
            target: Tensor = scheduler.get_velocity(latents, noise, steps)
            return target

    empty = torch.zeros((4, 2), dtype=torch.long)
    tokens = {"input_ids": empty, "attention_mask": empty}
    generator = torch.Generator().manual_seed(2)
    loss = velocity_loss(Perfect(), latents, tokens, alphas, generator)
    assert loss.item() < 1e-4
    quarters = ((seen[0][1] / 1000) ** 2.5 * 4).long()
    assert quarters.tolist() == [0, 1, 2, 3], "one step from each quarter of the distribution"


def test_every_frame_has_a_sign_of_its_own() -> None:
    signs = places(32)
    assert signs.shape == (4, 32)
    assert torch.cdist(signs.T, signs.T).fill_diagonal_(9.0).min() > 0.1
    power = signs.square().mean(dim=1)
    assert ((power > 0.8) & (power < 1.3)).all()


def test_asked_for_the_place_every_level_learns_it() -> None:
    torch.manual_seed(0)
    unet = build_unet()
    compass = Compass(unet)
    optimizer = torch.optim.Adam([*unet.parameters(), *compass.parameters()], lr=3e-4)
    losses = []
    for _ in range(30):
        noise, text = torch.randn((2, LATENT_CHANNELS, 64, 16)), torch.randn((2, EMBEDDING_WIDTH))
        unet(noise, torch.tensor([900, 600]), None, class_labels=text)
        loss = compass.loss()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert len(compass.heads) == 3
    assert losses[-1] < 0.5 * losses[0]


def test_refining_the_decoder_leaves_every_latent_as_it_was(tmp_path: Path) -> None:
    dataset = Dataset(folder=tmp_path, purpose="tests", seconds=2.56, n_shards=1)
    rng = np.random.default_rng(0)
    shard = rng.integers(-3000, 3000, (1000, dataset.n_samples), dtype=np.int16)
    np.save(dataset.shard_path(0), shard)
    vae = build_vae()
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    stage = VaeStage(dataset=dataset, folder=tmp_path, steps=1, device=torch.device("cpu"))
    after = stage.refine(vae).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert {name.split(".")[0] for name in changed} <= {"decoder", "post_quant_conv"}


def test_half_of_the_drawn_clips_hold_two_events_at_once(tmp_path: Path) -> None:
    dataset = Dataset(folder=tmp_path, purpose="tests", seconds=2.56, n_shards=1)
    drawn = PairsMoreOften(dataset).of(np.random.default_rng(0), 4000)
    assert drawn.min() >= 0
    assert drawn.max() < len(dataset)
    relations = [scene_of(dataset.first_seed + int(i)).relation for i in drawn]
    assert np.mean([r is Relation.WHILE for r in relations]) == pytest.approx(0.49, abs=0.04)
    assert np.mean([r is Relation.THEN for r in relations]) == pytest.approx(0.23, abs=0.04)


def test_a_reminded_encoder_reads_better_and_sounds_as_before(tmp_path: Path) -> None:
    folder = find_adm("mini-audioldm").folder
    tokenizer = RobertaTokenizer.from_pretrained(folder / "tokenizer")
    encoder = ClapTextModelWithProjection.from_pretrained(folder / "text_encoder").float().eval()
    torch.manual_seed(3)
    layer = nn.Linear(EMBEDDING_WIDTH, 32)
    seeds, texts = draw_captions(np.random.default_rng(1), 64)
    before, fresh = embeddings(encoder, tokenizer, texts), Reader(encoder)
    stage = ReadingStage(tokenizer=tokenizer, folder=tmp_path, steps=60, device=torch.device("cpu"))
    heads = stage.remind(encoder, layer)
    after = embeddings(encoder, tokenizer, texts)
    assert not torch.equal(before, after)
    changed = ((layer(after) - layer(before)) ** 2).mean() / layer(before).var(dim=0).mean()
    assert changed < 0.05
    assert Reader(encoder, heads).loss(after, seeds) < 0.8 * fresh.loss(before, seeds)
