"""Heads that are picked with the modulators of an encoder."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class HeadPool(nn.Module):
    """P heads; the last number of a sample's features says which is its (`Adapted.mark`).

    Heads that no sample of a batch picked get no gradient at all, and their weights do not move,
    whatever the optimiser remembers of them.

    Args:
        heads: modules from (B, F) to (B, ...).
        marks: whether what they give is marked as their features were.
    """

    def __init__(self, heads: Iterable[nn.Module], marks: bool):
        super().__init__()
        self.heads, self.marks = nn.ModuleList(heads), marks

    def forward(self, marked: Tensor) -> Tensor:
        features, mark = marked[:, :-1], marked[:, -1:]
        picked, which = mark[:, 0].long().unique(return_inverse=True)
        # They are few, and each sees the whole batch: a row keeps its place, and its noise.
        given = torch.stack([self.heads[index](features) for index in picked.tolist()])
        given = given[which, torch.arange(len(features), device=features.device)]
        return torch.cat([given, mark], dim=1) if self.marks else given
