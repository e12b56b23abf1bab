"""Temporal order: are windows of screens shown in the order in which they happened?

Misra, Zitnick, Hebert 2016 (arXiv 1603.08561), in the form of Goulao & Oliveira 2022
(arXiv 2209.10901): representations of three windows are concatenated in some order and a head
says whether it is the true one.
"""

from __future__ import annotations

from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# All orders of three windows; row 0 is the true one.
ORDERS = torch.tensor(list(permutations(range(3))))


def order_logits(head: nn.Module, windows: Tensor, orders: Tensor) -> Tensor:
    """(B,) logits that windows (B, 3, D) are out of order when shown in `orders` (B, 3)."""
    shown = windows.gather(1, orders[:, :, None].expand_as(windows))
    return head(shown.flatten(1)).squeeze(1)


def order_loss(logits: Tensor, shuffled: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy of logits (B,) against `shuffled` (B,): 1 = out of order.

    `weight` (B,) leaves samples out (0) or in (1); the mean is over those that are in.
    """
    loss = F.binary_cross_entropy_with_logits(logits, shuffled.to(logits.dtype), reduction="none")
    return weighted_mean(loss, weight)


def accuracy(logits: Tensor, shuffled: Tensor, weight: Tensor | None = None) -> Tensor:
    """The share of samples whose logit (B,) has the right sign."""
    return weighted_mean(((logits > 0) == shuffled.bool()).float(), weight)


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """The mean of values (B,) where weight (B,) is 1; 0 where it is 0 everywhere."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum().clamp(min=1)
