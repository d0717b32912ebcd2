"""Data parallelism: one training on several cores, where ``torchrun`` started it.

A process a core, because a small model's kernels are too short for threads to share.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed, nn

# The others wait while the first one renders and encodes the corpus.
_PATIENCE = timedelta(hours=12)


@contextmanager
def joined_group() -> Iterator[None]:
    """Work with the other processes of the training, if there are any, and leave in order.

    A process that ends with its group's threads still running may be aborted.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    distributed.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield
        wait_for_all()
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Number of this process; the first is 0, and the only one that writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()


@torch.no_grad()
def average_gradients(module: nn.Module) -> None:
    """Give every process the mean of all gradients."""
    if world_size() == 1:
        return
    grads = [weight.grad for weight in module.parameters() if weight.grad is not None]
    flat = torch.cat([grad.reshape(-1) for grad in grads])
    distributed.all_reduce(flat)
    flat /= world_size()
    torch.nn.utils.vector_to_parameters(flat, grads)
