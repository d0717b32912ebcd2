"""The vocoder's adversary: small critics of spectra at several resolutions, and their losses."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

_RESOLUTIONS = (400, 800, 1600)
_WIDTHS = (16, 24, 32, 32)
_SLOPE = 0.1
# Power-law compression: faint partials count, and silence stays finite.
_POWER, _FLOOR = 0.3, 1e-3


class SpectrumCritic(nn.Module):
    """Rates patches of one complex spectrogram: near 1 for recorded, near 0 for made.

    After UnivNet's multi-resolution spectrogram discriminator (Jang et al. 2021, arXiv
    2106.07889), but with the phase kept: real and imaginary parts are two channels.
    """

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        sizes = zip((2, *_WIDTHS[:-1]), _WIDTHS, strict=True)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, (7, 3), stride=(2, 1 if i == 0 else 2), padding=(3, 1))
            for i, (a, b) in enumerate(sizes)
        )
        self.rate = nn.Conv2d(_WIDTHS[-1], 1, 3, padding=1)

    def forward(self, samples: Tensor) -> list[Tensor]:
        """Features of every layer of ``(batch, samples)``; the rating ``(batch, 1, …)`` is last."""
        window = torch.hann_window(self.n_fft, device=samples.device)
        spectrum = torch.stft(
            samples, self.n_fft, self.n_fft // 4, window=window, return_complex=True
        )
        gain = (spectrum.abs() + _FLOOR) ** (_POWER - 1)
        x = torch.stack((spectrum.real * gain, spectrum.imag * gain), dim=1)
        found = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)
            found.append(x)
        return [*found, self.rate(x)]


class AdversarialVocoder(nn.Module):
    """A vocoder and its critics, trained by one loss and one optimizer."""

    def __init__(self, vocoder: nn.Module) -> None:
        super().__init__()
        self.vocoder = vocoder
        self.critics = nn.ModuleList(SpectrumCritic(n) for n in _RESOLUTIONS)

    def losses(self, reference: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses of the critics, of the vocoder before them, and of feature matching.

        Least squares (Mao et al. 2017, arXiv 1611.04076). The critics' loss does not reach the
        vocoder, nor the vocoder's losses the critics.

        Args:
            reference: Recorded clips ``(batch, samples)``.
            estimate: The vocoder's clips, with gradient.
        """
        critic, fooled, features = list[Tensor](), list[Tensor](), list[Tensor]()
        for judge in self.critics:
            real, made = judge(reference), judge(estimate.detach())
            critic.append(((real[-1] - 1) ** 2).mean() + (made[-1] ** 2).mean())
            frozen = {name: weight.detach() for name, weight in judge.named_parameters()}
            seen: Sequence[Tensor] = functional_call(judge, frozen, (estimate,))
            fooled.append(((seen[-1] - 1) ** 2).mean())
            features += [
                (a.detach() - b).abs().mean() for a, b in zip(real[:-1], seen[:-1], strict=True)
            ]
        return torch.stack(critic).mean(), torch.stack(fooled).mean(), torch.stack(features).mean()
