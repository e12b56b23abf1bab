"""MAE (He et al. 2021, arXiv 2111.06377): tell the patches that are hidden from those that are not.

The encoder sees the visible patches only, a small decoder puts the others in their places; it is
no part of the encoder and so of no encoder folder. A game's screens are mostly the same: where its
mean screen is taken off first, what is left to tell is what moves. Without a scale of its own that
is so little that the first steps go into telling nothing; in units of its standard deviation the
loss of a decoder that knows no more than the mean screen is 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.atari.frames import Frames
from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Features
from fovea.pretrain.encoders.vit import sincos
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.terms.feature_std import feature_std
from fovea.pretrain.terms.precision import full_precision
from fovea.seeding import Draws, Stream, seeded


class MAE(Objective):
    """Of most patches of the screens now, drawn for each sample, the pixels are to be told.

    Args:
        hidden: share of the patches that the encoder does not see.
        width, depth, heads: of the decoder's blocks.
        mean_screen: tell how patches differ from the mean screen of their game, in units of the
            standard deviation about it.
        normalise: tell patches whose pixels have mean 0 and std 1, as the authors prefer.

    Raises UserError where no patch is hidden, or none visible.
    """

    labels = ("game",)

    def __init__(
        self,
        hidden: float = 0.75,
        width: int = 96,
        depth: int = 2,
        heads: int = 3,
        mean_screen: bool = True,
        normalise: bool = False,
        **base,
    ):
        super().__init__(**base)
        rows, columns = grid = self.encoder.grid
        self.patches = rows * columns
        self.visible = self.patches - round(hidden * self.patches)
        if not 0 < self.visible < self.patches:
            raise UserError(
                f"hidden {hidden} leaves {self.visible} of {self.patches} patches to see: "
                "take a share that hides some and not all"
            )
        self.mean_screen, self.normalise = mean_screen, normalise
        pixels = self.encoder.vit.patch_embed.proj.weight[0].numel()
        self.decoder = Decoder(self.encoder.dim, width, depth, heads, grid, pixels, self.seed)

    def prepare(self, frames: Frames) -> None:
        if self.mean_screen:
            mean, std = map(self.encoder.pixels, mean_screens(frames))
            self.register_buffer("mean", self.encoder.middle(mean)[:, None])
            self.register_buffer("std", std[:, None, None, None])

    def views(self, windows: Tensor, draws: Draws, game: Tensor) -> tuple[Tensor, ...]:
        """Screens (B, stack, H, W) uint8, an order of their patches (B, N) int64, the game (B,).

        The first patches in this order are visible, the others hidden.
        """
        order = draws.uniform(0, 1, self.patches).argsort(dim=1)
        return windows[:, 0], order, game[:, 0]

    def losses(self, screens: Tensor, order: Tensor, game: Tensor) -> dict[str, Tensor]:
        shown, hidden = order.tensor_split([self.visible], dim=1)
        pixels = self.encoder.scale(screens)
        said = self.decoder(self.see(pixels, shown), shown, hidden)
        wanted = taken(self.wanted(pixels, game), hidden)
        (errors,) = self.join(reconstruction(said, wanted))
        return {"reconstruction": errors.mean()}

    def see(self, pixels: Tensor, shown: Tensor) -> Features:
        """What the encoder makes of the patches `shown` (B, n) of pixels (B, stack, H, W)."""
        tokens = self.encoder.embed(pixels)
        seen = self.encoder.attend(torch.cat([tokens[:, :1], taken(tokens[:, 1:], shown)], dim=1))
        self.note(feature_std=feature_std(*self.join(seen.summary.detach().float())))
        return seen

    def wanted(self, pixels: Tensor, game: Tensor) -> Tensor:
        """(B, N, stack * patch * patch) what is to be told of every patch."""
        if self.mean_screen:
            pixels = (pixels - self.mean[game]) / self.std[game]
        patch = self.encoder.vit.patch_embed.patch_size
        patches = F.unfold(pixels, patch, stride=patch).mT
        return F.layer_norm(patches, patches.shape[-1:], eps=1e-6) if self.normalise else patches


class Decoder(nn.Module):
    """Pixels of hidden patches, from the features of the visible ones.

    Args:
        dim: width of the encoder.
        width, depth, heads: of its own blocks.
        grid: rows and columns of the patches.
        pixels: numbers a patch.
        seed: of the initial weights.
    """

    def __init__(
        self,
        dim: int,
        width: int,
        depth: int,
        heads: int,
        grid: tuple[int, int],
        pixels: int,
        seed: int,
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

    def forward(self, seen: Features, shown: Tensor, hidden: Tensor) -> Tensor:
        """(B, m, pixels) for the patches `hidden` (B, m), of those `shown` (B, n)."""
        known = self.enter(torch.cat([seen.summary[:, None], seen.tokens], dim=1))
        known = torch.cat([known[:, :1], known[:, 1:] + self.positions[shown]], dim=1)
        # Attention does not mind in which order tokens come: their positions say where they are.
        tokens = self.blocks(torch.cat([known, self.hidden + self.positions[hidden]], dim=1))
        return self.leave(tokens[:, -hidden.shape[1] :])


@full_precision
def reconstruction(said: Tensor, wanted: Tensor) -> Tensor:
    """(B,) mean squared errors of what is said of patches (B, m, P) whose pixels are `wanted`."""
    return (said - wanted).pow(2).mean(dim=(1, 2))


def mean_screens(frames: Frames) -> tuple[Tensor, Tensor]:
    """(G, H, W) float32 the mean screen of each game, (G,) the std about it; in grey levels."""
    means, stds = [], []
    for game in frames.games:
        screens = frames.of(game).screens
        total = square = 0
        for some in screens.split(128):  # as many as a core's cache holds
            total = total + some.float().sum(0).double()
            square = square + some.float().pow_(2).sum(dtype=torch.float64)
        means.append(total / len(screens))
        stds.append((square / screens.numel() - means[-1].pow(2).mean()).sqrt())
    return torch.stack(means).float(), torch.stack(stds).float()


def taken(patches: Tensor, which: Tensor) -> Tensor:
    """(B, n, D): those of patches (B, N, D) that `which` (B, n) names."""
    return patches.gather(1, which[:, :, None].expand(-1, -1, patches.shape[2]))
