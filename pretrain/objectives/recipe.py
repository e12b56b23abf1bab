"""Fovea's recipe: what will the actions make of the screens, and what differs between them?

Of what was tried, two tasks taught an encoder more of a game's state than training on anything at
all does, and each what the other does not: SPR scores and clocks, the components where things are.
docs/objectives.md has the numbers. Both begin from the same features of the screens now, so that
the components cost no forward pass of their own.
"""

from __future__ import annotations

from torch import Tensor

from fovea.atari.frames import Frames
from fovea.pretrain.objectives.spr import SPR
from fovea.pretrain.terms.components import ComponentsTask
from fovea.seeding import Draws


class Recipe(SPR):
    """SPR's prediction plus the game's principal components.

    Args:
        prediction, components: coefficients of the two terms.
        count: components of each game.
        components_width: hidden width of the head that tells them.
    """

    def __init__(
        self,
        prediction: float = 1.0,
        components: float = 5.0,
        count: int = 192,
        components_width: int = 512,
        **spr,
    ):
        super().__init__(**spr)
        self.prediction, self.components = prediction, components
        self.told = ComponentsTask(self.encoder.dim, count, components_width, self.seed)

    def prepare(self, frames: Frames) -> None:
        self.told.prepare(frames, self.encoder.stack)

    def views(
        self, windows: Tensor, draws: Draws, action: Tensor, game: Tensor
    ) -> tuple[Tensor, ...]:
        """The components (B, count) of the screens now as they are, and what SPR sees."""
        wanted = self.told.wanted(windows[:, 0], game[:, 0])
        return wanted, *super().views(windows, draws, action, game)

    def losses(
        self, wanted: Tensor, action: Tensor, game: Tensor, now: Tensor, *later: Tensor
    ) -> dict[str, Tensor]:
        (now,), later = self.encode(now), self.encode(*later, by=self.teacher)
        wanted, action, game = self.join(wanted, action, game)
        return {
            "prediction": self.prediction * self.foreseen(now, later, action, game),
            "components": self.components * self.told(now, wanted, game),
        }
