"""The screen's patches as they are: what is left of an encoder without its weights."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from fovea.pretrain.encoders.encoder import Cropped, Features
from fovea.pretrain.encoders.vit import check_patch


class Patches(Cropped):
    """Tokens are the pixels of the patches, the summary is their mean: the reference of a ViT.

    It has nothing to learn: a head on its tokens through one projection for all is a head on a ViT
    without blocks and positions.

    Args:
        architecture: "patches".
        model_args: `patch_size`, the two sides of a patch in pixels, and `in_chans`.
        screen: height and width of the screens it takes.

    Raises UserError for a patch that does not divide the screen.
    """

    library = "fovea"

    def __init__(self, architecture: str, model_args: dict, screen: tuple[int, int]):
        super().__init__()
        self.architecture, self.model_args = architecture, model_args
        self.stack = model_args["in_chans"]
        self.look_at(screen, screen)
        self.patch = tuple(model_args["patch_size"])
        for patch, side in zip(self.patch, screen, strict=True):
            check_patch(patch, side)
        height, width = self.patch
        self.grid = screen[0] // height, screen[1] // width
        self.dim = self.stack * height * width
        # Says on which device it is, and in which precision.
        self.nothing = nn.Parameter(torch.zeros(1), requires_grad=False)

    def encode(self, pixels: Tensor) -> Features:
        """(B, N, stack * height * width) pixels of every patch, and their mean."""
        height, width = self.patch
        tokens = rearrange(pixels, "b s (i h) (j w) -> b (i j) (s h w)", h=height, w=width)
        return Features(tokens.mean(dim=1), tokens)


def build_patches(patch: int, stack: int = 4, screen: int = 84) -> Patches:
    """The patches of `patch` px of square screens."""
    return Patches("patches", {"patch_size": (patch, patch), "in_chans": stack}, (screen, screen))
