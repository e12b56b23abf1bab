"""InfoNCE (van den Oord, Li, Vinyals 2018, arXiv 1807.03748): pick the positive of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fovea.pretrain.terms.precision import full_precision


@full_precision
def info_nce(scores: Tensor) -> Tensor:
    """Mean cross-entropy of scores (..., B, C) with C >= B: column i is the positive of row i.

    All other columns of a row are its negatives.
    """
    positive = torch.arange(scores.shape[-2], device=scores.device).expand(scores.shape[:-1])
    return F.cross_entropy(scores.flatten(0, -2), positive.flatten())


def top1(scores: Tensor) -> Tensor:
    """Accuracy: the share of rows of scores (..., B, C) whose positive has the highest score."""
    positive = torch.arange(scores.shape[-2], device=scores.device)
    return (scores.argmax(-1) == positive).float().mean()


@full_precision
def products(x: Tensor, y: Tensor) -> Tensor:
    """(..., B, C) products of each of x (..., B, D) with each of y (..., C, D), over sqrt(D)."""
    return torch.einsum("...bd,...cd->...bc", x, y) / x.shape[-1] ** 0.5


@full_precision
def cosines(x: Tensor, y: Tensor) -> Tensor:
    """(B, C) cosines of each of x (B, D) with each of y (C, D)."""
    return torch.einsum("bd,cd->bc", F.normalize(x, dim=1), F.normalize(y, dim=1))
