"""The interface of encoders: screens in, one summary vector and a grid of patch tokens out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fovea.command import UserError
from fovea.pretrain.encoders.multi_query import MultiQueryReadOut

MOST = 2.0
"""More than any pixel in [0, 1], with room for noise that attributions add."""


class Features(NamedTuple):
    """What an encoder returns for a batch of screens."""

    summary: Tensor
    """(B, S) float: one vector a screen stack (a read-out's, a ViT's CLS token, a CNN's mean)."""
    tokens: Tensor
    """(B, N, D) float: patch tokens in grid order, rows first."""


class Encoder(nn.Module):
    """Uint8 screens to `Features`. Scaling to [0, 1] lives here and nowhere else.

    Attributes:
        dim: D, the width of every token.
        grid: rows and columns of the patch tokens, or None where tokens have no places.
        stack: how many screens, oldest first, are stacked as channels.
        screen: height and width in pixels.
        input_size: height and width of the middle of the screen that it looks at.
        margin: rows above and columns left of that.
        architecture: its name in `encoders.folder`.
        model_args: what is needed beside the name to build it again.
        body: the module whose weights an encoder folder holds.
        library: whose names these weights have: timm or fovea.
        depth: blocks whose features can be asked for, counted from 1; 0 where there are none.
        takes_crops: whether it encodes crops of another size than its input.
        read_out: a module that makes the summary of all tokens, or None for the usual summary.
        takes_pixels: whether it takes float pixels now, see `encode_pixels`.
    """

    depth = 0
    takes_crops = False
    takes_pixels = False

    dim: int
    grid: tuple[int, int] | None
    stack: int
    screen: tuple[int, int]
    input_size: tuple[int, int]
    margin: tuple[int, int]
    architecture: str
    model_args: dict
    body: nn.Module
    library: str

    def __init__(self):
        super().__init__()
        self.read_out: MultiQueryReadOut | None = None

    @property
    def summary_dim(self) -> int:
        """S, the width of the summary: D, or as many numbers as the read-out gives."""
        return self.read_out.outputs if self.read_out else self.dim

    def features(self, summary: Tensor, tokens: Tensor) -> Features:
        """`Features` of tokens (B, N, D); the summary is the read-out's where there is one."""
        return Features(self.read_out(tokens) if self.read_out else summary, tokens)

    def forward(self, screens: Tensor, blocks: Sequence[int] = ()) -> Features:
        """Encode (B, stack, H, W) uint8.

        Args:
            screens: the screens.
            blocks: numbers of the blocks whose features are wanted, counted from 1; of several,
                side by side: then D is the sum of their widths. None given: those of the last.

        Raises UserError for another dtype or shape, and for blocks that it has not.
        """
        pixels = self.scale(screens)
        if not blocks:
            return self.encode(pixels)
        self.check_blocks(blocks)
        return self.encode_blocks(pixels, blocks)

    def encode_pixels(self, pixels: Tensor, blocks: Sequence[int] = ()) -> Features:
        """Encode whole screens as float pixels, to which gradients flow: for attributions.

        Args:
            pixels: (B, stack, H, W) float in [0, 1]; uint8 screens / 255.
            blocks: whose features are wanted, see `forward`.

        Raises UserError for other shapes, and for pixels from 0 to 255.
        """
        if not pixels.is_floating_point() or pixels.detach().abs().max() > MOST:
            raise UserError(
                f"encode_pixels takes floats in [0, 1], not {pixels.dtype} up to "
                f"{pixels.detach().max().item():g}: divide uint8 screens by 255"
            )
        with taking_pixels(self):
            return self.features_of(pixels, blocks)

    def check_blocks(self, blocks: Sequence[int]) -> None:
        """Raise UserError where one of these blocks does not exist."""
        if not self.depth:
            raise UserError(
                f"blocks {list(blocks)}: a {type(self).__name__} has no blocks whose features "
                "could be taken, leave blocks out"
            )
        if not all(0 < number <= self.depth for number in blocks):
            raise UserError(f"blocks {list(blocks)}: this encoder has blocks 1 to {self.depth}")

    def encode_blocks(self, pixels: Tensor, blocks: Sequence[int]) -> Features:
        """The features of these blocks, side by side, of float pixels; see `forward`."""
        raise NotImplementedError

    def encode_array(
        self, screens: np.ndarray, batch_size: int = 256, blocks: Sequence[int] = ()
    ) -> Features:
        """Encode an array of screens in eval mode, batch by batch on the encoder's device.

        Args:
            screens: (N, stack, H, W) uint8, the oldest screen of a stack first.
            batch_size: stacks that are encoded at once.
            blocks: whose features are wanted, see `forward`.

        Returns the features of all N on the CPU, without gradients. Raises UserError for another
        dtype or shape.
        """
        if screens.ndim == 3:
            last = self.stack - 1
            raise UserError(
                f"an array {screens.shape} holds single screens, and this encoder takes stacks of "
                f"{self.stack}: of successive screens, np.stack([screens[i : len(screens) - {last} "
                f"+ i] for i in range({self.stack})], axis=1)"
            )
        device = next(self.parameters()).device
        with inference(self):
            batches = [
                [part.cpu() for part in self.features_of(torch.as_tensor(some).to(device), blocks)]
                for at in range(0, max(1, len(screens)), batch_size)
                for some in [screens[at : at + batch_size]]
            ]
        return Features(*map(torch.cat, zip(*batches, strict=True)))

    def features_of(self, screens: Tensor, blocks: Sequence[int]) -> Features:
        """As `forward`, which a subclass may have overridden without a thought of blocks."""
        return self(screens, blocks) if blocks else self(screens)

    def scale(self, screens: Tensor) -> Tensor:
        """(B, stack, H, W) uint8 to the float pixels in [0, 1] that `encode` takes."""
        self.check_screens(screens)
        if screens.is_floating_point():
            return screens.to(next(self.parameters()).dtype)
        return self.pixels(screens)

    def check_screens(self, screens: Tensor) -> None:
        """Raise UserError for screens of another dtype or shape than (B, stack, H, W) uint8."""
        shape = (self.stack, *self.screen)
        floats = screens.is_floating_point()
        known = screens.dtype == torch.uint8 or (floats and self.takes_pixels)
        if not known or screens.ndim != 4 or tuple(screens.shape[1:]) != shape:
            fix = "match the stack and the screen size, or take another encoder"
            if floats:
                fix = (
                    "float pixels in [0, 1] go to encode_pixels, an agent's q_values and "
                    "action_probabilities take both"
                )
            raise UserError(
                f"this encoder takes uint8 screens (batch, {', '.join(map(str, shape))}), "
                f"not {screens.dtype} {tuple(screens.shape)}: {fix}"
            )

    def pixels(self, screens: Tensor) -> Tensor:
        """Uint8 screens, or parts of them, to float pixels in [0, 1]."""
        return screens.to(next(self.parameters()).dtype, copy=True).div_(255)

    def encode(self, pixels: Tensor) -> Features:
        """Encode float pixels (B, stack, H, W) in [0, 1]; differentiable, for attribution."""
        raise NotImplementedError

    def encode_crops(self, crops: Tensor) -> Features:
        """Encode (B, stack, h, w) uint8 crops of another size, where it `takes_crops`."""
        return self.encode(self.pixels(crops))

    def attention(self, screens: Tensor) -> Tensor:
        """(L, B, heads, T, T) attention of every block; rows sum to 1; token 0 is the CLS token.

        Raises UserError where the encoder has no attention.
        """
        raise UserError(f"a {type(self).__name__} has no attention maps: probe a ViT")


class Cropped(Encoder):
    """An encoder that looks at the middle of the screen, of `input_size`."""

    def look_at(self, screen: Sequence[int], input_size: Sequence[int]) -> None:
        """Take screens (height, width) and as input their middle (height, width)."""
        (height, width), (rows, columns) = screen, input_size
        self.screen, self.input_size = (height, width), (rows, columns)
        self.margin = (height - rows) // 2, (width - columns) // 2

    def scale(self, screens: Tensor) -> Tensor:
        """(B, stack, H, W) uint8 to float pixels in [0, 1] of the middle that is the input."""
        return self.crop(super().scale(screens))

    def crop(self, screens: Tensor) -> Tensor:
        """The middle of (..., H, W) that is the input."""
        (top, left), (height, width) = self.margin, self.input_size
        return screens[..., top : top + height, left : left + width]


def side_by_side(each: Sequence[Features], blocks: Sequence[int]) -> Features:
    """The features of several blocks as one, side by side.

    Raises UserError where they have another number of tokens.
    """
    if len({features.tokens.shape[1] for features in each}) > 1:
        places = ", ".join(str(features.tokens.shape[1]) for features in each)
        raise UserError(
            f"blocks {list(blocks)} of this encoder have {places} places, which cannot lie side by "
            "side: name blocks with equally many, or one"
        )
    if len(each) == 1:
        return each[0]
    summaries, tokens = zip(*each, strict=True)
    return Features(torch.cat(summaries, dim=1), torch.cat(tokens, dim=2))


def innermost(encoder: Encoder) -> Encoder:
    """The encoder within all that is built around it: adapters, stacks of screens, pictures."""
    while isinstance(inner := getattr(encoder, "encoder", None), Encoder):
        encoder = inner
    return encoder


@contextmanager
def inference(module: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards every submodule is in the mode it was in."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def taking_pixels(encoder: Encoder) -> Iterator[None]:
    """Float screens are taken by `encoder` and by all encoders in it, however they call another."""
    within = [part for part in encoder.modules() if isinstance(part, Encoder)]
    for part in within:
        part.takes_pixels = True
    try:
        yield
    finally:
        for part in within:
            part.takes_pixels = False
