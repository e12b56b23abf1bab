"""Learnt tokens next to those of the patches, the same for all screens or chosen from a pool."""

from __future__ import annotations

from functools import partial

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from fovea.agents.adaptation.modulated import Modulated
from fovea.pretrain.encoders.encoder import Encoder


class Prompt(nn.Module):
    """Tokens between the CLS token and the patches, removed again before the last norm.

    Args:
        vit: timm's model.
        length: tokens per entry.
        entries: P, number of entries.
        deep: every block gets tokens of its own; else those of the first block go through all.

    Attributes:
        entry: the entries of each sample, (B, k) int64, or a slice that all samples use; None for
            no tokens at all.
    """

    def __init__(self, vit: nn.Module, length: int, entries: int, deep: bool):
        super().__init__()
        blocks, width = vit.blocks, vit.embed_dim
        self.entry: Tensor | slice | None = slice(None)
        self.tokens = nn.Parameter(torch.empty(len(blocks) if deep else 1, entries, length, width))
        blocks[0].register_forward_pre_hook(self.insert)
        vit.norm.register_forward_pre_hook(self.remove)  # of any block's outputs
        for depth in range(1, len(self.tokens)):
            blocks[depth].register_forward_pre_hook(partial(self.replace, depth))

    def reset_parameters(self) -> None:
        self.tokens.normal_(std=0.02)

    def taken(self, depth: int, batch: int) -> Tensor:
        """(B, n, D), the tokens of a block."""
        return self.tokens[depth][self.entry].flatten(-3, -2).expand(batch, -1, -1)

    def insert(self, block: nn.Module, inputs: tuple[Tensor]) -> Tensor | None:
        (tokens,) = inputs
        self.inserted = 0
        if self.entry is None:
            return None
        mine = self.taken(0, len(tokens))
        self.inserted = mine.shape[1]
        return torch.cat([tokens[:, :1], mine, tokens[:, 1:]], dim=1)

    def replace(self, depth: int, block: nn.Module, inputs: tuple[Tensor]) -> Tensor | None:
        (tokens,) = inputs
        if self.entry is None:
            return None
        rest = tokens[:, 1 + self.inserted :]
        return torch.cat([tokens[:, :1], self.taken(depth, len(tokens)), rest], dim=1)

    def remove(self, norm: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        (tokens,) = inputs
        return torch.cat([tokens[:, :1], tokens[:, 1 + self.inserted :]], dim=1)


class Prompts(Modulated):
    """Learnt tokens learn with the heads (visual prompt tuning, Jia et al. 2022, 2203.12119).

    Args:
        encoder: a reference or an encoder, a ViT.
        length: number of tokens.
        deep: every block gets tokens of its own.
        lr_scale: their learning rate as a share of the heads'.
    """

    def __init__(
        self,
        encoder: str | Encoder,
        length: PositiveInt = 25,
        deep: bool = False,
        lr_scale: NonNegativeFloat = 1.0,
    ):
        super().__init__(encoder, lr_scale, lambda vit: [Prompt(vit, length, 1, deep)])
