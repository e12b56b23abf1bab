"""MAE (He et al. 2021, arXiv 2111.06377): reconstruct the hidden patches from the visible ones.

The encoder sees the visible patches only. A small decoder reconstructs the others; it is no part of
the encoder and not exported. A game's screens are mostly the same: with the game's mean screen
subtracted, the target is what moves. That is small: in grey levels, the first steps are spent on
learning to predict zero. So targets are in units of their standard deviation, and the loss of a
decoder that knows no more than the mean screen is 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from fovea.atari.frames import Frames
from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Features
from fovea.pretrain.encoders.vit import Shape, require_vit, sincos
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.feature_std import feature_std
from fovea.pretrain.terms.precision import full_precision
from fovea.seeding import Draws, Stream, seeded


class MAE(Objective):
    """Predict the pixels of most patches of the screens now; each sample draws which.

    Args:
        hidden: share of the patches that the encoder does not see.
        width: of the decoder's blocks.
        depth: number of the decoder's blocks.
        heads: attention heads of the decoder's blocks.
        mean_screen: predict the difference from the mean screen of the game, in units of its
            standard deviation.
        normalise: predict patches scaled to mean 0 and std 1 each, as the authors prefer.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.

    Raises UserError where no patch is hidden, or none visible.
    """

    labels = ("game",)

    def __init__(
        self,
        hidden: ClosedUnitInterval = 0.75,
        width: PositiveInt = 96,
        depth: PositiveInt = 2,
        heads: PositiveInt = 3,
        mean_screen: bool = True,
        normalise: bool = False,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        require_vit(self.encoder, "MAE hides patches")
        grid = self.encoder.grid
        assert grid, "a ViT has one"
        rows, columns = grid
        self.patches = rows * columns
        self.visible = self.patches - round(hidden * self.patches)
        if not 0 < self.visible < self.patches:
            raise UserError(
                f"hidden {hidden} leaves {self.visible} of {self.patches} patches to see: "
                "take a share that hides some and not all"
            )
        if self.encoder.read_out:
            raise UserError(
                "MAE decodes patch tokens and would leave a read-out untrained: leave "
                "encoder.read_out out, or take another objective"
            )
        self.mean_screen, self.normalise = mean_screen, normalise
        pixels = self.encoder.vit.patch_embed.proj.weight[0].numel()
        self.decoder = Decoder(self.encoder.dim, width, depth, heads, grid, pixels, self.seed)

    def prepare(self, frames: Frames) -> None:
        if self.mean_screen:
            mean, std = map(self.encoder.pixels, mean_screens(frames))
            self.register_buffer("mean", self.encoder.crop(mean)[:, None])
            self.register_buffer("std", std[:, None, None, None])

    def views(self, windows: Tensor, draws: Draws, game: Tensor) -> tuple[Tensor, ...]:
        """Screens (B, stack, H, W) uint8, an order of their patches (B, N) int64, the game (B,).

        The first patches in this order are visible, the others hidden.
        """
        order = draws.uniform(0, 1, self.patches).argsort(dim=1)
        return windows[:, 0], order, game[:, 0]

    def losses(self, screens: Tensor, order: Tensor, game: Tensor) -> dict[str, Tensor]:
        visible, hidden = order.tensor_split([self.visible], dim=1)
        pixels = self.encoder.scale(screens)
        prediction = self.decoder(self.encode_visible(pixels, visible), visible, hidden)
        target = select(self.target(pixels, game), hidden)
        (errors,) = self.gather(reconstruction(prediction, target))
        return {"reconstruction": errors.mean()}

    def encode_visible(self, pixels: Tensor, visible: Tensor) -> Features:
        """Features of the patches `visible` (B, n) alone, of pixels (B, stack, H, W)."""
        tokens = self.encoder.embed(pixels)
        first = self.encoder.vit.num_prefix_tokens
        tokens = torch.cat([tokens[:, :first], select(tokens[:, first:], visible)], dim=1)
        features = self.encoder.attend(tokens)
        self.note(feature_std=feature_std(*self.gather(features.summary.detach().float())))
        return features

    def target(self, pixels: Tensor, game: Tensor) -> Tensor:
        """(B, N, stack * patch * patch) what is to be predicted of every patch."""
        if self.mean_screen:
            pixels = (pixels - self.mean[game]) / self.std[game]
        height, width = self.encoder.vit.patch_embed.patch_size
        patches = rearrange(pixels, "b s (i h) (j w) -> b (i j) (s h w)", h=height, w=width)
        return F.layer_norm(patches, patches.shape[-1:], eps=1e-6) if self.normalise else patches


class Decoder(nn.Module):
    """Pixels of hidden patches, from the features of the visible ones.

    Args:
        dim: width of the encoder.
        width: of the decoder's own blocks.
        depth: number of blocks.
        heads: attention heads of a block.
        grid: rows and columns of the patches.
        pixels: numbers a patch.
        seed: of the initial weights.
    """

    def __init__(
        self,
        dim: int,
        width: PositiveInt,
        depth: PositiveInt,
        heads: PositiveInt,
        grid: tuple[int, int],
        pixels: int,
        seed: NonNegativeInt,
    ):
        super().__init__()
        self.register_buffer("positions", sincos(*grid, width), persistent=False)
        with seeded(Stream.DECODER, seed):
            self.enter = nn.Linear(dim, width)
            self.hidden = nn.Parameter(0.02 * torch.randn(width))
            self.blocks = nn.Sequential(*(
                nn.TransformerEncoderLayer(
                    width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True,
                    norm_first=True,
                )
                for _ in range(depth)
            ))  # fmt: skip
            self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, pixels))

    def forward(self, features: Features, visible: Tensor, hidden: Tensor) -> Tensor:
        """(B, m, pixels) of the patches `hidden` (B, m), from those `visible` (B, n)."""
        known = self.enter(torch.cat([features.summary[:, None], features.tokens], dim=1))
        known = torch.cat([known[:, :1], known[:, 1:] + self.positions[visible]], dim=1)
        # Attention ignores the order of tokens: their positions say where they are.
        tokens = self.blocks(torch.cat([known, self.hidden + self.positions[hidden]], dim=1))
        return self.leave(tokens[:, -hidden.shape[1] :])


@full_precision
def reconstruction(prediction: Tensor, target: Tensor) -> Tensor:
    """(B,) mean squared errors of patches (B, m, P)."""
    return (prediction - target).pow(2).mean(dim=(1, 2))


def mean_screens(frames: Frames) -> tuple[Tensor, Tensor]:
    """(G, H, W) float32 the mean screen of each game, (G,) the std about it; in grey levels."""
    means, stds = [], []
    for game in frames.games:
        screens = frames.of(game).screens
        total, square = torch.zeros(()), torch.zeros(())
        for some in screens.split(128):  # as many as a core's cache holds
            total = total + some.float().sum(0).double()
            square = square + some.float().pow_(2).sum(dtype=torch.float64)
        means.append(total / len(screens))
        stds.append((square / screens.numel() - means[-1].pow(2).mean()).sqrt())
    return torch.stack(means).float(), torch.stack(stds).float()


def select(patches: Tensor, index: Tensor) -> Tensor:
    """(B, n, D): of patches (B, N, D), those at `index` (B, n)."""
    return patches.gather(1, index[:, :, None].expand(-1, -1, patches.shape[2]))
