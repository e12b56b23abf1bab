"""LoRA (Hu et al. 2021, arXiv 2106.09685): changes of low rank to the layers of a ViT."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from fovea.agents.adaptation.modulated import Modulated, Modulator
from fovea.pretrain.encoders.encoder import Encoder


class LowRank(Modulator):
    """W x becomes W x + alpha / rank * B A x, in some of a linear layer's outputs.

    A starts with Kaiming's uniform initialisation, each matrix by its own inputs: in
    +-1 / sqrt(inputs). (L2M's published code draws the matrices of all layers as one tensor, which
    makes them 17 times smaller at its sizes.) B starts at 0.

    Args:
        layer: the linear layer.
        outputs: which of its outputs.
        rank: of B A.
        alpha: the change counts alpha / rank times.
        entries: P, number of pairs of A and B.
    """

    def __init__(
        self, layer: nn.Linear, outputs: slice, rank: int, alpha: PositiveFloat, entries: int
    ):
        super().__init__(layer)
        self.outputs, self.gain = outputs, alpha / rank
        width = len(range(layer.out_features)[outputs])
        self.down = nn.Parameter(torch.empty(entries, layer.in_features, rank))
        self.up = nn.Parameter(torch.empty(entries, rank, width))

    def reset_parameters(self) -> None:
        bound = self.down.shape[1] ** -0.5
        self.down.uniform_(-bound, bound)
        self.up.zero_()

    def modulate(self, inputs: Tensor, output: Tensor) -> Tensor:
        change = inputs @ self.down[self.entry] @ self.up[self.entry]
        output[..., self.outputs] += self.gain * change
        return output


def low_rank(vit: nn.Module, rank: int, alpha: float, entries: int) -> Iterator[LowRank]:
    """Modulators of the queries, the values and the first layer of the MLP of every block."""
    for block in vit.blocks:
        qkv, width = block.attn.qkv, block.attn.attn_dim
        yield LowRank(qkv, slice(width), rank, alpha, entries)
        yield LowRank(qkv, slice(2 * width, None), rank, alpha, entries)
        yield LowRank(block.mlp.fc1, slice(None), rank, alpha, entries)


class LoRA(Modulated):
    """Low-rank changes of queries, values and MLPs learn with the heads.

    Args:
        encoder: a reference or an encoder, a ViT.
        rank: of the changes.
        alpha: the changes count alpha / rank times.
        lr_scale: their learning rate as a share of the heads'.
    """

    def __init__(
        self,
        encoder: str | Encoder,
        rank: PositiveInt = 8,
        alpha: PositiveFloat = 16.0,
        lr_scale: NonNegativeFloat = 1.0,
    ):
        super().__init__(encoder, lr_scale, lambda vit: low_rank(vit, rank, alpha, entries=1))
