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

from atari.frames import Frames
from pretrain.draws import Draws, keyed, seeded
from pretrain.encoder import Features
from pretrain.objective import Objective, full_precision
from pretrain.order import seen
from pretrain.within import within

LOOKED_AT = 4000  # stacks of a game
LOOK, SKETCH, TOLD = 8, 9, 10  # keep these draws apart from every other use of the seed


class Components(Objective):
    """The components of the screens now are told from how their features differ within the game.

    Args:
        count, width: see `ComponentsTask`.
    """

    labels = ("game",)

    def __init__(self, count: int = 64, width: int = 512, **base):
        super().__init__(**base)
        self.task = ComponentsTask(self.encoder.dim, count, width, self.seed)

    def prepare(self, frames: Frames) -> None:
        self.task.prepare(frames, self.encoder.stack)

    def views(self, windows: Tensor, draws: Draws, game: Tensor) -> tuple[Tensor, ...]:
        """Screens (B, stack, H, W) uint8, their components (B, count), the game (B,) int64."""
        screens, game = windows[:, 0], game[:, 0]
        return screens, self.task.wanted(screens, game), game

    def losses(self, screens: Tensor, wanted: Tensor, game: Tensor) -> dict[str, Tensor]:
        (features,) = self.encode(screens)
        return {"components": self.task(features, *self.join(wanted, game))}


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
        with seeded(seed, TOLD):
            self.head = nn.Sequential(nn.Linear(2 * dim, width), nn.GELU(), nn.Linear(width, count))

    def prepare(self, frames: Frames, stack: int) -> None:
        """Find the components of each game in some of its training stacks."""
        starts = frames.starts(stack)
        found = []
        for index in range(len(frames.games)):
            of_it = starts[frames.game[starts] == index]
            order = torch.randperm(len(of_it), generator=keyed("cpu", self.seed, index, LOOK))
            some = of_it[order[:LOOKED_AT].to(of_it.device)]
            pixels = halved(frames.windows(some, stack)[:, 0]).cpu()
            with seeded(self.seed, index, SKETCH):
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


def halved(screens: Tensor) -> Tensor:
    """(B, stack * H/2 * W/2) float32 in [0, 1]: screens (B, stack, H, W) uint8 at half size."""
    return F.avg_pool2d(screens.float() / 255, 2).flatten(1)


def whitening(pixels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(P, count) and (count,): pixels (n, P) times the first, less the second, is white.

    The leading principal components; zero where the pixels have fewer of them.
    """
    mean, directions, std = principal(pixels, count)
    scale = torch.where(std > 1e-6, 1 / std, 0.0)
    directions = F.pad(directions * scale, (0, count - len(scale)))
    return directions, mean @ directions


def principal(pixels: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """(P,), (P, k) and (k,): mean of pixels (n, P), leading directions, deviations along them.

    By a randomised sketch (Halko et al. 2011) from torch's generator; k is `count`, or all.
    """
    mean = pixels.mean(0)
    # The last of a sketch are its least exact: more are sketched than kept.
    kept = min(count + 16, *pixels.shape)
    _, sizes, directions = torch.svd_lowrank(pixels - mean, kept)
    return mean, directions[:, :count], sizes[:count] / (len(pixels) - 1) ** 0.5


@full_precision
def untold(said: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of white components (B, count)."""
    return F.mse_loss(said, wanted)
