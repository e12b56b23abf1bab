"""Small modules after the layers of an encoder whose own weights are fixed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jsonargparse.typing import NonNegativeFloat
from torch import Tensor, nn

from fovea.agents.adaptation.base import Held, vit_of
from fovea.pretrain.encoders.encoder import Encoder
from fovea.seeding import Stream, seeded


class Modulator(nn.Module):
    """Changes the outputs of a layer, by one of its entries for each sample of a batch.

    It is a forward hook of the layer: the encoder's weights keep their names, whatever reads the
    layer's outputs reads the changed ones, and in a deep copy of both the copy is hooked.

    Args:
        layer: a module from tokens (B, T, D) to tokens.

    Attributes:
        entry: which of its entries each sample uses: (B,) int64, or one for all; None leaves the
            layer as it is.
    """

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.entry: Tensor | int | None = 0
        layer.register_forward_hook(self)

    def forward(self, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
        return None if self.entry is None else self.modulate(inputs[0], output)

    def modulate(self, inputs: Tensor, output: Tensor) -> Tensor:
        """The changed output of the layer, from its inputs and output."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Set the initial weights, those that leave the layer as it is."""
        raise NotImplementedError


class Modulated(Held):
    """An encoder with modulators, which learn with the heads.

    Args:
        encoder: a reference or an encoder.
        lr_scale: their learning rate as a share of the heads'.
        make: makes the modulators of timm's model.

    Raises UserError where the encoder is no ViT.
    """

    def __init__(
        self,
        encoder: str | Encoder,
        lr_scale: NonNegativeFloat,
        make: Callable[[nn.Module], Iterable[nn.Module]],
    ):
        super().__init__(encoder, lr_scale)
        self.modulators = nn.ModuleList(make(vit_of(self)))
        Modulated.reset_parameters(self, 0)

    def reset_parameters(self, seed: int) -> None:
        with seeded(Stream.ADAPTER, seed), torch.no_grad():
            for modulator in self.modulators:
                modulator.reset_parameters()
