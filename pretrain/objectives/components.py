"""A game's principal components, predicted from its features (see `terms.components`)."""

from __future__ import annotations

from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor

from fovea.atari.frames import Frames
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.components import ComponentsTask
from fovea.seeding import Draws


class Components(Objective):
    """A head predicts the components of the screens now from features centred per game.

    Args:
        count: components of each game.
        width: hidden width of the head.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    labels = ("game",)

    def __init__(
        self,
        count: PositiveInt = 64,
        width: PositiveInt = 512,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        self.task = ComponentsTask(self.state_dim, count, width, self.seed)

    def prepare(self, frames: Frames) -> None:
        self.task.prepare(frames, self.encoder.stack)

    def views(self, windows: Tensor, draws: Draws, game: Tensor) -> tuple[Tensor, ...]:
        """Screens (B, stack, H, W) uint8, their components (B, count), the game (B,) int64."""
        screens, game = windows[:, 0], game[:, 0]
        return screens, self.task.target(screens, game), game

    def losses(self, screens: Tensor, target: Tensor, game: Tensor) -> dict[str, Tensor]:
        (features,) = self.encode(screens)
        return {"components": self.task(self.state(features), *self.gather(target, game))}
