"""Heads that are chosen together with the modulators of an encoder."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class HeadPool(nn.Module):
    """P heads; the last of a sample's features is the index of its head.

    Heads that no sample of a batch chose get no gradient at all, so that their weights do not move,
    whatever momentum the optimiser has for them.

    Args:
        heads: modules from (B, F) to (B, ...).
        keep_head_index: whether the outputs carry the index on as their last column.
    """

    def __init__(self, heads: Iterable[nn.Module], keep_head_index: bool):
        super().__init__()
        self.heads, self.keep_head_index = nn.ModuleList(heads), keep_head_index

    def forward(self, indexed: Tensor) -> Tensor:
        """Outputs for (B, F + 1) features with each sample's head index as the last column.

        `Adapted.append_head_index` appends it.
        """
        features, index = indexed[:, :-1], indexed[:, -1:]
        chosen, which = index[:, 0].long().unique(return_inverse=True)
        # Few heads are chosen in a batch, and each sees all of it: rows keep their place and noise.
        outputs = torch.stack([self.heads[head](features) for head in chosen.tolist()])
        outputs = outputs[which, torch.arange(len(features), device=features.device)]
        return torch.cat([outputs, index], dim=1) if self.keep_head_index else outputs
