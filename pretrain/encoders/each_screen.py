"""An encoder of single screens on stacks of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fovea.pretrain.encoders.encoder import Encoder, Features


class EachScreen(Encoder):
    """Encodes each screen of a stack by itself; their features lie side by side, oldest first.

    What encoders of single screens (`LeWM`) tell of a moment is thereby compared with what encoders
    of stacks do. Summary and tokens have `stack` times as many numbers.

    Args:
        encoder: takes single screens.
        stack: how many.
    """

    def __init__(self, encoder: Encoder, stack: int):
        super().__init__()
        self.encoder, self.stack, self.screen = encoder, stack, encoder.screen
        self.dim, self.grid, self.depth = stack * encoder.dim, encoder.grid, encoder.depth
        self.input_size, self.margin = encoder.input_size, encoder.margin
        self.architecture = encoder.architecture
        self.model_args = encoder.model_args | {"each_of": stack}

    @property
    def summary_dim(self) -> int:
        return self.stack * self.encoder.summary_dim

    def scale(self, screens: Tensor) -> Tensor:
        """(B, stack, H, W) uint8 to the float pixels (B * stack, 1, h, w) of its encoder."""
        self.check_screens(screens)
        return self.encoder.scale(screens.flatten(0, 1)[:, None])

    def encode(self, pixels: Tensor) -> Features:
        """The features of the screens, side by side, of float pixels (B * stack, 1, h, w)."""
        return self._side_by_side(self.encoder.encode(pixels))

    def encode_blocks(self, pixels: Tensor, blocks: Sequence[int]) -> Features:
        """The same of some blocks."""
        return self._side_by_side(self.encoder.encode_blocks(pixels, blocks))

    def _side_by_side(self, features: Features) -> Features:
        each = (of.unflatten(0, (-1, self.stack)).unbind(1) for of in features)
        summary, tokens = (torch.cat(of, dim=-1) for of in each)
        return Features(summary, tokens)
