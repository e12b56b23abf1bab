"""Losses in full precision inside a step of mixed precision."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor


def full_precision(function: Callable) -> Callable:
    """Keep a loss of tensors out of autocast: sums over a batch need more than 8 bits."""

    @functools.wraps(function)
    def outside(first: Tensor, *rest: Tensor, **named):
        with torch.autocast(first.device.type, enabled=False):
            narrow = (torch.bfloat16, torch.float16)
            wide = (x.float() if x.dtype in narrow else x for x in (first, *rest))
            return function(*wide, **named)

    return outside
