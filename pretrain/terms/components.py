"""A game's principal components, read off its screens: what moves in it, and nothing else.

A linear autoencoder keeps the directions in which a game's screens differ most, and they say more
of where things are than most encoders do. Whitened they are all alike in size, so that a small
object's weigh as much as a large one's; decoding pixels instead spends itself on large objects. Of
each game its own, from screens at half their size, of all screens of a stack.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.atari.frames import Frames
from fovea.pretrain.encoders.encoder import Features
from fovea.pretrain.terms.centering import within
from fovea.pretrain.terms.cls_and_mean import seen
from fovea.pretrain.terms.precision import full_precision
from fovea.pretrain.terms.principal import halved, whitening
from fovea.seeding import Stream, keyed, seeded

LOOKED_AT = 4000  # stacks of a game


class ComponentsTask(nn.Module):
    """What components are, and the head that tells them from summary and mean token.

    Args:
        dim: width of the encoder.
        count: components of each game.
        width: hidden width of the head.
        seed: of the head's initial weights, and of the stacks that are looked at.
    """

    def __init__(self, dim: int, count: int, width: int, seed: int):
        super().__init__()
        self.count, self.seed = count, seed
        with seeded(Stream.COMPONENTS_HEAD, seed):
            self.head = nn.Sequential(nn.Linear(2 * dim, width), nn.GELU(), nn.Linear(width, count))

    def prepare(self, frames: Frames, stack: int) -> None:
        """Find the components of each game in some of its training stacks."""
        starts = frames.starts(stack)
        found = []
        for index in range(len(frames.games)):
            of_it = starts[frames.game[starts] == index]
            order = torch.randperm(
                len(of_it), generator=keyed("cpu", Stream.COMPONENTS_SCREENS, self.seed, index)
            )
            some = of_it[order[:LOOKED_AT].to(of_it.device)]
            pixels = halved(frames.windows(some, stack)[:, 0]).cpu()
            with seeded(Stream.COMPONENTS_SKETCH, self.seed, index):
                found.append(whitening(pixels, self.count))
        directions, offset = map(torch.stack, zip(*found, strict=True))
        self.register_buffer("directions", directions.transpose(0, 1).contiguous())
        self.register_buffer("offset", offset)

    def wanted(self, screens: Tensor, game: Tensor) -> Tensor:
        """(B, count) the whitened components of screens (B, stack, H, W) uint8 of a `game` (B,)."""
        # By the directions of all games and then its own: none is copied for each sample.
        of_all = halved(screens) @ self.directions.flatten(1)
        rows = torch.arange(len(game), device=game.device)
        return of_all.unflatten(1, self.offset.shape)[rows, game] - self.offset[game]

    def forward(self, features: Features, wanted: Tensor, game: Tensor) -> Tensor:
        """The share of the components' variance that is not told, of the whole batch."""
        return untold(self.head(within(seen(features), game)), wanted)


@full_precision
def untold(said: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of white components (B, count)."""
    return F.mse_loss(said, wanted)
