"""One batch from the parts of all ranks, so that each has the loss of the whole batch."""

from __future__ import annotations

import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor


def all_gather(part: Tensor) -> Tensor:
    """(B, ...) of this rank to (world * B, ...) of all, in the order of slots; differentiable.

    Rank r holds the slots r, r + world, ... . Gradients flow back to every part. Where each rank
    computes the same loss of the whole batch and DDP takes the mean of the ranks' gradients, each
    parameter's is that of one process on the whole batch.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return part
    return _AllGather.apply(part.contiguous())


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, part)
        return rearrange(parts, "rank b ... -> (b rank) ...")

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank() :: dist.get_world_size()]
