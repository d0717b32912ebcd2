"""What the ear is trained on: wrong captions are wrong in one thing, degradations have a level."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from assets.recipe.contrast import Swap, possible_swaps, swapped
from assets.recipe.degradations import GRADES, Degradation, degrade
from assets.recipe.ear_batch import make_batch
from assets.recipe.export import WeightsRecord, write_weights
from ptq.metrics.embed.judge import Judge, JudgeNet
from ptq.metrics.embed.words import Vocabulary
from ptq.prompts.grammar import draw_scene
from ptq.prompts.scene import Event, Pace, Relation, Scene

THEN = Scene(
    events=(Event(source="dog", pace=Pace.FAST), Event(source="rain")), relation=Relation.THEN
)
TONE = 0.1 * torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000)[None]


def test_a_swap_changes_one_thing() -> None:
    rng = np.random.default_rng(0)
    assert swapped(THEN, Swap.ORDER, rng).sources == ("rain", "dog")
    slow = swapped(THEN, Swap.ATTRIBUTE, rng)
    assert slow.events == (Event(source="dog", pace=Pace.SLOW), Event(source="rain"))
    other = swapped(THEN, Swap.SOURCE, rng)
    assert len(set(other.sources) & {"dog", "rain"}) == 1
    assert other.relation is Relation.THEN


def test_an_impossible_swap_is_refused() -> None:
    scene = Scene(events=(Event(source="rain"),))
    assert possible_swaps(scene) == (Swap.SOURCE,)
    with pytest.raises(ValueError, match="no order swap"):
        swapped(scene, Swap.ORDER, np.random.default_rng(0))


def test_noise_has_the_asked_level() -> None:
    noise = degrade(TONE, Degradation.NOISE, 10.0, torch.Generator().manual_seed(0)) - TONE
    snr_db = 10 * torch.log10(TONE.square().mean() / noise.square().mean())
    assert snr_db.item() == pytest.approx(10.0, abs=0.2)


@pytest.mark.parametrize("kind", GRADES)
def test_a_degradation_worsens_with_its_level(kind: Degradation) -> None:
    clip = TONE + 0.03 * torch.randn(1, 16_000, generator=torch.Generator().manual_seed(1))

    def error(level: float) -> float:
        generator = torch.Generator().manual_seed(2)
        worse = degrade(clip, kind, GRADES[kind].value(level), generator)
        assert worse.shape == clip.shape
        return float((worse - clip).square().mean())

    assert error(0.0) < error(1.0)


@pytest.mark.parametrize(
    ("kind", "nothing"),
    [(Degradation.JITTER, 0.0), (Degradation.SMEAR, 1.0), (Degradation.STRETCH, 1.0)],
)
def test_a_degradation_of_nothing_keeps_the_clip(kind: Degradation, nothing: float) -> None:
    torch.testing.assert_close(degrade(TONE, kind, nothing), TONE, rtol=0.0, atol=1e-5)


def test_half_of_a_batch_is_degraded_with_known_levels() -> None:
    rng = np.random.default_rng(3)
    scenes = [draw_scene(rng) for _ in range(16)]
    clips = torch.randn(16, 8000, generator=torch.Generator().manual_seed(4))
    batch = make_batch(clips, scenes, Vocabulary(words=("a", "dog")), rng)
    torch.testing.assert_close(batch.clips[:8], clips[:8])
    assert ((batch.levels > 0).sum(1) == torch.tensor([0] * 8 + [1] * 8)).all()
    assert batch.present.sum(1).tolist() == [len(scene.sources) for scene in scenes]
    assert len(batch.captions) == 32
    assert batch.same.diagonal().all()


def test_written_weights_load_and_name_their_origin(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = JudgeNet(3).eval()
    record = WeightsRecord(
        name="judge", config={"sources": ["a", "b", "c"]}, training={"purpose": "judge"}
    )
    sha256 = write_weights(net, tmp_path, record)
    judge = Judge.load(tmp_path)
    assert judge.sha256 == sha256
    assert json.loads((tmp_path / "config.json").read_text())["training"]["purpose"] == "judge"
    clip = TONE[0].numpy()
    with torch.no_grad():
        full = net(net.features(TONE)).numpy()
    np.testing.assert_allclose(judge.logits([clip]), full, atol=0.02)
