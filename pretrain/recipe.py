"""Fovea's recipe: TOV-VICReg, and what differs between the screens of a game is read off them.

VICReg and temporal order ask for little of what a game's state is: an untrained encoder passes for
the second, and neither says where things are. The third term does, and costs no forward pass of
its own, for the windows of the order term are seen as they were.
"""

from __future__ import annotations

from torch import Tensor

from atari.frames import Frames
from pretrain.components import ComponentsTask
from pretrain.draws import Draws
from pretrain.tov_vicreg import TOVVICReg


class Recipe(TOVVICReg):
    """TOV-VICReg plus the game's principal components.

    Args:
        components: coefficient of the term.
        count: components of each game.
        components_width: hidden width of the head that tells them.
    """

    labels = ("game",)

    def __init__(
        self,
        components: float = 25.0,
        count: int = 64,
        components_width: int = 512,
        **tov_vicreg,
    ):
        super().__init__(**tov_vicreg)
        self.components = components
        self.told = ComponentsTask(self.encoder.dim, count, components_width, self.seed)

    def prepare(self, frames: Frames) -> None:
        self.told.prepare(frames, self.encoder.stack)

    def views(self, windows: Tensor, draws: Draws, game: Tensor) -> tuple[Tensor, ...]:
        """What TOV-VICReg sees, the components (B, count) of the screens now, the game (B,)."""
        game = game[:, 0]
        wanted = self.told.wanted(windows[:, 1], game)
        return *super().views(windows, draws), wanted, game

    def losses(self, first, second, three, order, moved, wanted, game) -> dict[str, Tensor]:
        first, second, *three = self.encode(first, second, *three.unbind(1))
        told = self.told(three[1], *self.join(wanted, game))
        return {
            **self.tov_terms(first, second, three, order, moved),
            "components": self.components * told,
        }
