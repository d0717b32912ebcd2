"""Places in a model that are no layers and yet can be quantized."""

from torch import nn


class AttentionProbabilities(nn.Identity):
    """Marks where attention probabilities pass: an adapter puts it behind its softmax.

    It returns what it gets, shape (batch, heads, queries, keys) or with both leading axes merged.
    """
