"""The principal components of a game's screens as targets: mostly where its objects are.

A linear autoencoder keeps the directions in which a game's screens differ most, and they say more
of where things are than most encoders do. Whitened they all have the same variance, so that a small
object counts as much as a large one; decoding pixels would spend itself on large objects. Each game
has components of its own, computed of stacks of screens at half their size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.atari.frames import Frames
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.precision import full_precision
from fovea.pretrain.terms.principal import halved, whitening
from fovea.seeding import Stream, keyed, seeded

STACKS = 4000  # of a game, which its components are computed of


class ComponentsTask(nn.Module):
    """The components of every game, and the head that predicts them from the state of a window.

    Args:
        dim: S, width of the state.
        count: components of each game.
        width: hidden width of the head.
        seed: of the head's initial weights, and of the stacks that components are computed of.
    """

    def __init__(self, dim: int, count: int, width: int, seed: int):
        super().__init__()
        self.count, self.seed = count, seed
        with seeded(Stream.COMPONENTS_HEAD, seed):
            self.head = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, count))

    def prepare(self, frames: Frames, stack: int) -> None:
        """Compute the components of each game from some of its training stacks."""
        starts = frames.starts(stack)
        whitenings = []
        for index in range(len(frames.games)):
            of_game = starts[frames.game[starts] == index]
            order = torch.randperm(
                len(of_game), generator=keyed("cpu", Stream.COMPONENTS_SCREENS, self.seed, index)
            )
            some = of_game[order[:STACKS].to(of_game.device)]
            pixels = halved(frames.windows(some, stack)[:, 0]).cpu()
            with seeded(Stream.COMPONENTS_SKETCH, self.seed, index):
                whitenings.append(whitening(pixels, self.count))
        directions, offset = map(torch.stack, zip(*whitenings, strict=True))
        self.register_buffer("directions", directions.transpose(0, 1).contiguous())
        self.register_buffer("offset", offset)

    def target(self, screens: Tensor, game: Tensor) -> Tensor:
        """(B, count) the whitened components of screens (B, stack, H, W) uint8 of a `game` (B,)."""
        # Along the directions of all games, then those of its own: indexing the directions by
        # sample would copy them for each.
        of_all = halved(screens) @ self.directions.flatten(1)
        rows = torch.arange(len(game), device=game.device)
        return of_all.unflatten(1, self.offset.shape)[rows, game] - self.offset[game]

    def forward(self, state: Tensor, target: Tensor, game: Tensor) -> Tensor:
        """The share of the components' variance that states (B, S) do not explain."""
        return unexplained(self.head(center_per_game(state, game)), target)


@full_precision
def unexplained(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of white components (B, count)."""
    return F.mse_loss(prediction, target)
