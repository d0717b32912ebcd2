"""A low-rank branch in floating point (SVDQuant, Li et al. 2025, arXiv 2411.05007).

The largest singular values of a weight are what stretches its range. A branch W ≈ L R of small rank
takes them over, and only what is left is quantized. The paper evens channels out first, which is a
word of its own here (`smooth`), repeats decomposition and quantization, and computes both halves in
one kernel; this is its first decomposition. The branch is given what the layer is given, before
activations are quantized.
"""

import torch
from torch import Tensor


def low_rank(rows: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the factors (rows, rank) and (rank, columns) that are nearest to a weight, float16.

    No other pair of this rank has a smaller squared error, but for the rounding to float16.

    Args:
        rows: the weight as a matrix (rows, columns).
        rank: at most the smaller of its sides.
    """
    weight = rows.double()
    wide = weight.shape[0] <= weight.shape[1]
    # The squares of a matrix are small on its shorter side: much faster than its full SVD.
    square = weight @ weight.T if wide else weight.T @ weight
    basis = torch.linalg.eigh(square).eigenvectors[:, -rank:].flip(1)
    left, right = (basis, basis.T @ weight) if wide else (weight @ basis, basis.T)
    # Equal shares of the size for both, so that neither overflows or vanishes in float16.
    size = (right.norm(dim=1) / left.norm(dim=0).clamp(min=1e-30)).clamp(min=1e-30).sqrt()
    return (left * size).half(), (right / size[:, None]).half()
