"""Losses in full precision inside a step of mixed precision."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor


def full_precision(function: Callable) -> Callable:
    """Keep a loss out of autocast: sums over a batch need more than 8 bits.

    Its first argument is a tensor; those by position are widened, numbers pass as they are.
    """

    @functools.wraps(function)
    def outside(first: Tensor, *rest, **named):
        with torch.autocast(first.device.type, enabled=False):
            return function(*map(_wide, (first, *rest)), **named)

    return outside


def _wide(value):
    narrow = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if narrow else value
