"""Bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751), two in every block of a ViT."""

from __future__ import annotations

from collections.abc import Iterator

from jsonargparse.typing import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from fovea.agents.adaptation.modulated import Modulated, Modulator
from fovea.pretrain.encoders.encoder import Encoder


class Bottleneck(Modulator):
    """h becomes h + W swish(V h + v) + w, where W and w start at 0.

    Args:
        layer: a layer that outputs tokens of `width`.
        width: D.
        inner: width of the bottleneck V h.
    """

    def __init__(self, layer: nn.Module, width: PositiveInt, inner: int):
        super().__init__(layer)
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)

    def reset_parameters(self) -> None:
        self.down.reset_parameters()
        self.up.weight.zero_()
        self.up.bias.zero_()

    def modulate(self, inputs: Tensor, output: Tensor) -> Tensor:
        return output + self.up(nn.functional.silu(self.down(output)))


def bottlenecks(vit: nn.Module, reduction: int) -> Iterator[Bottleneck]:
    """One after the attention and one after the MLP of every block."""
    for block in vit.blocks:
        for layer in (block.attn, block.mlp):
            yield Bottleneck(layer, vit.embed_dim, max(1, vit.embed_dim // reduction))


class Adapters(Modulated):
    """Bottlenecks after attention and MLP of every block learn with the heads.

    Args:
        encoder: a reference or an encoder, a ViT.
        reduction: width of the tokens divided by that of the bottleneck.
        lr_scale: their learning rate as a share of the heads'.
    """

    def __init__(
        self, encoder: str | Encoder, reduction: PositiveInt = 16, lr_scale: NonNegativeFloat = 1.0
    ):
        super().__init__(encoder, lr_scale, lambda vit: bottlenecks(vit, reduction))
