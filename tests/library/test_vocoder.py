"""The frame-rate vocoder: steady frames become steady tones and noise, not a buzz."""

import pytest
import torch
from torch import Tensor

from assets.recipe.vocoder import energy_distance
from ptq.adms.vocoders.istft import IstftVocoder, IstftVocoderConfig, limited
from ptq.adms.vocoders.overlap import overlap_add

SAMPLE_RATE_HZ = 16_000
FRAMES = 200


@pytest.fixture
def vocoder() -> IstftVocoder:
    """A small vocoder whose parts are silent."""
    torch.manual_seed(0)
    vocoder = IstftVocoder(IstftVocoderConfig(width=16, hidden=16, n_blocks=1)).eval()
    for head in (vocoder.head, vocoder.noise_head, vocoder.tone_head):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.constant_(head.bias[: len(head.bias) // 2 + 1], -20.0)
        torch.nn.init.constant_(head.bias[len(head.bias) // 2 + 1 :], 0.0)
    torch.nn.init.constant_(vocoder.noise_head.bias, -20.0)
    return vocoder


@pytest.fixture
def steady() -> Tensor:
    """Log-mel whose frames are all alike."""
    return torch.zeros(1, FRAMES, 64)


def middle_spectrum(samples: Tensor) -> Tensor:
    """Magnitudes of the middle second, one a hertz."""
    middle = samples[0, SAMPLE_RATE_HZ // 2 : SAMPLE_RATE_HZ * 3 // 2]
    spectrum: Tensor = torch.fft.rfft(middle * torch.hann_window(len(middle))).abs()
    return spectrum


@pytest.mark.parametrize("tone", [19, 101, 500])
@torch.inference_mode()
def test_equal_frames_make_one_steady_tone(
    vocoder: IstftVocoder, steady: Tensor, tone: int
) -> None:
    vocoder.tone_head.bias[tone] = 3.0
    spectrum = middle_spectrum(vocoder(steady))
    hertz = tone * SAMPLE_RATE_HZ / vocoder.config.tone_n_fft
    assert abs(int(spectrum.argmax()) - hertz) <= 1
    near = spectrum[round(hertz) - 3 : round(hertz) + 4].square().sum()
    assert near / spectrum.square().sum() > 0.999


@torch.inference_mode()
def test_noise_does_not_repeat_at_the_frame_rate(vocoder: IstftVocoder, steady: Tensor) -> None:
    hop = vocoder.config.hop_length

    def repeats() -> float:
        x = vocoder(steady)[0, hop * 10 : -hop * 10]
        return float(x[:-hop] @ x[hop:] / (x[hop:] @ x[hop:]))

    torch.nn.init.constant_(vocoder.noise_head.bias, 1.0)
    assert abs(repeats()) < 0.05
    # The counter-example: drawn-once phases of the frames themselves buzz.
    torch.nn.init.constant_(vocoder.noise_head.bias, -20.0)
    n_bins = len(vocoder.head.bias) // 2
    vocoder.head.bias[:n_bins] = 1.0
    vocoder.head.bias[n_bins:] = torch.rand(n_bins) * 6
    assert repeats() > 0.95


@torch.inference_mode()
def test_equal_calls_are_equal_and_the_drawn_noise_can_begin_elsewhere(steady: Tensor) -> None:
    torch.manual_seed(0)
    vocoder = IstftVocoder(IstftVocoderConfig(width=16, hidden=16, n_blocks=1)).eval()
    assert torch.equal(vocoder(steady), vocoder(steady))
    assert not torch.equal(vocoder(steady), vocoder(steady, first_noise=7))
    assert vocoder(steady.expand(3, -1, -1)).shape == (3, FRAMES * vocoder.config.hop_length)


def test_overlap_add_inverts_the_transform() -> None:
    n_fft, hop = 640, 160
    window = torch.hann_window(n_fft)
    samples = torch.randn((2, 8000), generator=torch.Generator().manual_seed(0))
    spectrum = torch.stft(samples, n_fft, hop, window=window, center=True, return_complex=True)
    back = overlap_add(spectrum.transpose(1, 2), window, hop, lead=n_fft // 2, length=8000)
    torch.testing.assert_close(back, samples, rtol=0, atol=1e-5)


def test_the_energy_distance_prefers_noise_to_a_buzz() -> None:
    """Other noise is nearer to noise than a buzz of its level, whose every frame is the same."""
    generator = torch.Generator().manual_seed(0)
    real, one, other = torch.randn((3, 4, 12_800), generator=generator) * 0.1
    # A pulse every 16 samples has noise's mean spectrum, and none of its randomness.
    buzz = torch.zeros_like(real)
    buzz[:, ::16] = 0.4
    assert energy_distance(real, one, other) < energy_distance(real, buzz, buzz)


def test_the_energy_distance_of_the_clip_itself_is_zero() -> None:
    real = torch.randn((2, 12_800), generator=torch.Generator().manual_seed(0)) * 0.1
    assert energy_distance(real, real.clone(), real.clone()).item() == pytest.approx(0, abs=1e-6)


def test_the_limiter_keeps_what_is_quiet_and_bends_what_is_loud() -> None:
    samples = torch.linspace(-3.0, 3.0, 6001)
    found = limited(samples)
    quiet = samples.abs() <= 0.9
    assert torch.equal(found[quiet], samples[quiet])
    assert float(found.abs().max()) < 0.995
    assert (found.diff() >= 0).all(), "louder stays louder"
    assert torch.equal(found, -limited(-samples))
