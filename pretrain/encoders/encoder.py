"""What an encoder is: screens in, one summary vector and a grid of patch tokens out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fovea.command import UserError


class Features(NamedTuple):
    """What an encoder says of a batch of screens."""

    summary: Tensor
    """(B, D) float: one vector a screen stack (a ViT's CLS token, a CNN's mean)."""
    tokens: Tensor
    """(B, N, D) float: patch tokens in grid order, rows first."""


class Encoder(nn.Module):
    """Uint8 screens to `Features`. Scaling to [0, 1] lives here and nowhere else.

    Attributes:
        dim: D, the width of the summary and of every token.
        grid: rows and columns of the patch tokens, or None where tokens have no places.
        stack: how many screens, oldest first, are stacked as channels.
        screen: height and width in pixels.
        seen, margin: height and width of what it sees of them; rows above and columns left of it.
        architecture, model_args: what builds it anew, see `encoders.folder`.
        body: the module whose weights an encoder folder holds.
        library: which library's names these weights have.
    """

    dim: int
    grid: tuple[int, int] | None
    stack: int
    screen: tuple[int, int]
    seen: tuple[int, int]
    margin: tuple[int, int]
    architecture: str
    model_args: dict
    body: nn.Module
    library: str

    def forward(self, screens: Tensor) -> Features:
        """Encode (B, stack, H, W) uint8.

        Raises UserError for another dtype or shape.
        """
        return self.encode(self.scale(screens))

    def scale(self, screens: Tensor) -> Tensor:
        """(B, stack, H, W) uint8 to the float pixels in [0, 1] that `encode` takes."""
        wanted = (self.stack, *self.screen)
        if screens.dtype != torch.uint8 or screens.ndim != 4 or tuple(screens.shape[1:]) != wanted:
            raise UserError(
                f"this encoder takes uint8 screens (batch, {', '.join(map(str, wanted))}), "
                f"not {screens.dtype} {tuple(screens.shape)}: "
                "match the stack and the screen size, or take another encoder"
            )
        return self.pixels(screens)

    def pixels(self, screens: Tensor) -> Tensor:
        """Uint8 screens, or parts of them, to float pixels in [0, 1]."""
        return screens.to(next(self.parameters()).dtype, copy=True).div_(255)

    def encode(self, pixels: Tensor) -> Features:
        """Encode float pixels (B, stack, H, W) in [0, 1]; differentiable, for attribution."""
        raise NotImplementedError

    def attention(self, screens: Tensor) -> Tensor:
        """(L, B, heads, T, T) attention of every block; rows sum to 1; token 0 is the CLS token.

        Raises UserError where the encoder has no attention.
        """
        raise UserError(f"a {type(self).__name__} has no attention maps: probe a ViT")
