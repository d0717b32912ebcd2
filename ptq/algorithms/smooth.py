"""SmoothQuant (Xiao et al. 2023, arXiv 2211.10438): even out channels between input and weight.

Inputs are divided by s_c = √(max|X_c| / max|W_c|) and the weight's columns multiplied by it: the
layer says the same, and both sides are equally hard to quantize. The time-aware variant weighs the
parts of the trajectory as PTQ4DiT (Wu et al. 2024, arXiv 2405.16005) does, by exp(−ρ_t), where ρ_t
is the rank correlation of the channels' largest inputs and weights: parts in which the loud
channels are not the weight's count more, since there balancing helps both sides.
"""

import torch
from scipy.stats import rankdata
from torch import Tensor

from ptq.scheme import Balance

_QUIETEST = 1e-5
# Factors are stored in float16; far from one they would cost precision and gain nothing.
_MOST = 2.0**8


def channel_balance(peaks: Tensor, rows: Tensor, kind: Balance) -> Tensor:
    """Return what each input channel is divided by, float32 but exact in float16, (channels,).

    Args:
        peaks: max |x| of each channel in each part of the trajectory, (buckets, channels).
        rows: the weight as a matrix (rows, columns); a channel has equally many columns.
        kind: how the parts are put together.
    """
    channels = peaks.shape[1]
    weights = rows.float().abs().reshape(len(rows), channels, -1).amax(dim=(0, 2))
    loud = peaks.float().amax(dim=0)
    if kind is Balance.SMOOTH_TIME:
        shares = torch.softmax(-_rank_correlations(peaks.float(), weights), dim=0)
        loud = (shares[:, None] * peaks.float()).sum(dim=0)
    factors = (loud.clamp(min=_QUIETEST) / weights.clamp(min=_QUIETEST)).sqrt()
    silent = (loud < _QUIETEST) | (weights < _QUIETEST)
    # A common factor changes nothing: around one, float16 is at its best. What a silent channel
    # would be divided by says nothing of the others.
    factors /= factors[~silent].log().mean().exp()
    factors = torch.where(silent, 1.0, factors.clamp(1 / _MOST, _MOST))
    return factors.half().float()


def _rank_correlations(peaks: Tensor, weights: Tensor) -> Tensor:
    """Spearman's ρ between each row of peaks and the weights, (buckets,)."""
    a, b = _centred_ranks(peaks), _centred_ranks(weights[None])
    norms = a.norm(dim=1) * b.norm(dim=1)
    found: Tensor = (a * b).sum(dim=1) / norms.clamp(min=_QUIETEST)
    return found


def _centred_ranks(values: Tensor) -> Tensor:
    ranks = torch.from_numpy(rankdata(values.cpu().numpy(), axis=1)).float()
    return ranks - ranks.mean(dim=1, keepdim=True)
