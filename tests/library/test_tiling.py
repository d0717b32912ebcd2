"""Long clips from windows: seams agree, and what fits into one window is untouched."""

import pytest
import torch
from torch import Tensor

from ptq.adms.audioldm import AudioLDM
from ptq.adms.base import AudioDiffusionModel
from ptq.adms.sampling import SamplingSettings
from ptq.adms.tiling import TiledModel
from ptq.errors import ConfigError
from ptq.generation import GenerationRequest, Generator


@pytest.fixture
def tiled(tiny_adm: AudioLDM) -> TiledModel:
    return TiledModel(tiny_adm, window_seconds=0.64)


def final(adm: AudioDiffusionModel, seconds: float) -> Tensor:
    settings = SamplingSettings(steps=2, guidance=2.5, seconds=seconds)
    request = GenerationRequest(prompts=("a dog barks", "rain"), seed=1, settings=settings)
    clips = Generator(adm=adm)(request)
    return torch.stack([torch.from_numpy(clip.latents[-1]) for clip in clips])


def test_a_short_clip_is_bit_identical(tiny_adm: AudioLDM, tiled: TiledModel) -> None:
    assert isinstance(tiled, AudioDiffusionModel)
    assert torch.equal(final(tiled, 0.64), final(tiny_adm, 0.64))


def test_a_long_clip_has_its_length(tiny_adm: AudioLDM, tiled: TiledModel) -> None:
    settings = SamplingSettings(steps=1, guidance=2.5, seconds=2.0)
    request = GenerationRequest(prompts=("rain",), seed=1, settings=settings)
    clip = next(Generator(adm=tiled)(request))
    assert clip.audio.seconds == pytest.approx(2.0)
    assert not torch.equal(final(tiled, 2.0), final(tiny_adm, 2.0))


def test_windows_average_to_what_each_of_them_says(
    tiny_adm: AudioLDM, tiled: TiledModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A denoiser that looks at each frame by itself says the same with windows and without."""
    monkeypatch.setattr(tiny_adm, "denoise", lambda x, t, _: torch.sin(x) + t)
    x = torch.randn(tiny_adm.latent_shape(2, 3.0), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(tiled.denoise(x, 0.5, {}), torch.sin(x) + 0.5, atol=1e-6)


def test_no_window_weighs_nothing_at_its_edge(
    tiny_adm: AudioLDM, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = TiledModel(tiny_adm, window_seconds=0.64, overlap=0.0)
    monkeypatch.setattr(tiny_adm, "denoise", lambda x, *_: torch.ones_like(x))
    x = torch.zeros(tiny_adm.latent_shape(1, 2.0))
    assert torch.isfinite(apart.denoise(x, 0.0, {})).all()


@pytest.mark.parametrize("overlap", [-1.0, 1.0, float("nan")])
def test_windows_that_leave_gaps_or_do_not_move_are_refused(
    tiny_adm: AudioLDM, overlap: float
) -> None:
    with pytest.raises(ConfigError, match="choose 0 to below 1"):
        TiledModel(tiny_adm, window_seconds=0.64, overlap=overlap)
