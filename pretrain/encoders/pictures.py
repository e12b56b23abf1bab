"""Models that were pretrained on colour pictures, behind the encoders' face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fovea.pretrain.encoders.encoder import Encoder, Features, taking_pixels
from fovea.pretrain.encoders.folder import load_encoder
from fovea.pretrain.encoders.timm_model import load_published

TIMM = "timm:"
"""Before the name of a model of timm with published weights, where both kinds are taken."""


class Pictures(Encoder):
    """A model for pictures of some channels: it sees the newest screen, grey in all of them.

    The screen is stretched to the size of its pictures (bilinear) and normalised as they were. What
    moves it cannot see: give it no blame for velocities.

    Args:
        encoder: for float pixels (B, channels, h, w).
        mean: of its channels.
        std: of its channels.
        stack: screens in a stack, oldest first.
        screen: height and width of the screens it takes.

    Attributes:
        takes: that, in words.
    """

    margin = (0, 0)
    library = "timm"

    def __init__(
        self,
        encoder: Encoder,
        mean: Sequence[float],
        std: Sequence[float],
        stack: int = 4,
        screen: tuple[int, int] = (84, 84),
    ):
        super().__init__()
        self.encoder, self.stack, self.screen = encoder, stack, screen
        self.input_size = self.screen
        self.mean_pixel, self.std_pixel = tuple(mean), tuple(std)
        self.dim, self.grid, self.depth = encoder.dim, encoder.grid, encoder.depth
        self.architecture, self.model_args = encoder.architecture, encoder.model_args
        self.channels, self.size = encoder.stack, tuple(encoder.input_size)
        side = " x ".join(map(str, self.size))
        self.takes = (
            f"a model for pictures ({encoder.architecture}) sees the newest screen alone, grey in "
            f"all {self.channels} channels, stretched to {side} px"
        )

    @property
    def summary_dim(self) -> int:
        return self.encoder.summary_dim

    def picture(self, pixels: Tensor) -> Tensor:
        """(B, channels, h, w) of float screens (B, stack, H, W) in [0, 1]."""
        stretched = interpolate(pixels[:, -1:], self.size, mode="bilinear", antialias=True)
        mean, std = (
            torch.tensor(of, device=pixels.device, dtype=pixels.dtype).view(-1, 1, 1)
            for of in (self.mean_pixel, self.std_pixel)
        )
        return (stretched.expand(-1, self.channels, -1, -1) - mean) / std

    def encode(self, pixels: Tensor) -> Features:
        return self.encoder.encode(self.picture(pixels))

    def encode_blocks(self, pixels: Tensor, blocks: Sequence[int]) -> Features:
        return self.encoder.encode_blocks(self.picture(pixels), blocks)

    def attention(self, screens: Tensor) -> Tensor:
        with taking_pixels(self.encoder):
            return self.encoder.attention(self.picture(self.scale(screens)))


def load(ref: str | Path, seed: int = 0) -> Encoder:
    """What `load_encoder` takes, or "timm:NAME", a model of timm with published weights."""
    name = str(ref)
    return published(name.removeprefix(TIMM)) if name.startswith(TIMM) else load_encoder(ref, seed)


def published(name: str) -> Pictures:
    """A model of timm with published weights. Raises UserError where timm does not give them."""
    return Pictures(*load_published(name)).eval()
