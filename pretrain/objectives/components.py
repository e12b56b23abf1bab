"""A game's principal components, predicted from its features (see `terms.components`)."""

from __future__ import annotations

from torch import Tensor

from fovea.atari.frames import Frames
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.terms.components import ComponentsTask
from fovea.seeding import Draws


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
