"""(IA)3 (Liu et al. 2022, arXiv 2205.05638): learnt scales of the activations of a ViT."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import pad

from fovea.agents.adaptation.modulated import Modulated, Modulator
from fovea.pretrain.encoders.encoder import Encoder


class Scale(Modulator):
    """The last outputs of a layer are each multiplied by a number, initially 1.

    Args:
        layer: any layer.
        skip: number of first outputs that are not scaled.
        width: number of outputs that are scaled.
        entries: P, number of sets of scales.
    """

    def __init__(self, layer: nn.Module, skip: int, width: PositiveInt, entries: int):
        super().__init__(layer)
        self.skip = skip
        self.scale = nn.Parameter(torch.empty(entries, width))

    def reset_parameters(self) -> None:
        self.scale.fill_(1)

    def modulate(self, inputs: Tensor, output: Tensor) -> Tensor:
        scale = pad(self.scale[self.entry], (self.skip, 0), value=1.0)
        return output * scale.unsqueeze(-2)


def scales(vit: nn.Module, entries: int) -> Iterator[Scale]:
    """Modulators of the keys, the values and the activations of the MLP of every block."""
    for block in vit.blocks:
        yield Scale(block.attn.qkv, block.attn.attn_dim, 2 * block.attn.attn_dim, entries)
        yield Scale(block.mlp.act, 0, block.mlp.fc1.out_features, entries)


class IA3(Modulated):
    """Scales of keys, values and the MLPs' activations learn with the heads.

    Args:
        encoder: a reference or an encoder, a ViT.
        lr_scale: their learning rate as a share of the heads'.
    """

    def __init__(self, encoder: str | Encoder, lr_scale: NonNegativeFloat = 1.0):
        super().__init__(encoder, lr_scale, lambda vit: scales(vit, entries=1))
