"""Bias correction (Nagel et al. 2019, arXiv 1906.04721, section 4.2), from recorded means.

Rounding a weight shifts the mean of what a layer puts out by (Ŵ − W) E[x], which the bias takes
back. The inputs' means are those that calibration recorded in full precision. The shift that
quantized activations cause, Ŵ (E[x̂] − E[x]), is not corrected.
"""

from torch import Tensor

from ptq.weights import per_channel_columns


def corrected_bias(bias: Tensor, error: Tensor, channel_mean: Tensor) -> Tensor:
    """A bias that makes up for the mean error of the outputs, exact in float16.

    Windows of a convolution are taken to see the mean of their channel everywhere: only padded
    edges see less.

    Args:
        bias: as it was (rows,).
        error: the weight minus what stands for it (rows, columns).
        channel_mean: E[x] of each input channel.
    """
    return (bias.double() + output_shift(error, channel_mean)).half().to(bias.dtype)


def output_shift(error: Tensor, channel_mean: Tensor) -> Tensor:
    """How much a weight's error moves the mean of each output, float64 (rows,).

    Args:
        error: the weight minus what stands for it (rows, columns).
        channel_mean: E[x] of each input channel.
    """
    means = per_channel_columns(channel_mean, error.shape[1]).double()
    return error.double() @ means
