"""An encoder as its features after some of its blocks, for every probe that reads features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fovea.pretrain.encoders.encoder import Encoder, Features


class OfBlocks(Encoder):
    """The features of these blocks of an encoder, side by side, in place of those of its last.

    Args:
        encoder: the encoder.
        blocks: their numbers, counted from 1.

    Raises UserError for blocks that it has not.
    """

    def __init__(self, encoder: Encoder, blocks: Sequence[int]):
        super().__init__()
        self.encoder, self.blocks = encoder, tuple(blocks)
        self.stack, self.screen = encoder.stack, encoder.screen
        self.architecture = encoder.architecture
        self.model_args = encoder.model_args | {"blocks": [*blocks]}
        self.input_size, self.margin = encoder.input_size, encoder.margin
        blank = torch.zeros(1, self.stack, *self.screen, dtype=torch.uint8)
        tokens = encoder.encode_array(blank.numpy(), blocks=self.blocks).tokens
        self.dim, count = tokens.shape[2], tokens.shape[1]
        side = round(count**0.5)
        self.grid = (side, side) if side * side == count else None

    def scale(self, screens: Tensor) -> Tensor:
        """As the encoder does."""
        return self.encoder.scale(screens)

    def encode(self, pixels: Tensor) -> Features:
        """The features of the blocks, of float pixels in [0, 1]."""
        return self.encoder.encode_blocks(pixels, self.blocks)

    def attention(self, screens: Tensor) -> Tensor:
        """That of all blocks of the encoder, as ever."""
        return self.encoder.attention(screens)
