"""Fovea's recipe: SPR, and the principal components of each game.

Of the tasks that were tried, these two taught an encoder more of a game's state than the control of
random labels, and each teaches what the other does not: SPR scores and clocks, the components where
objects are. docs/objectives.md has the numbers. Both use the same features of the screens now, so
that the components need no forward pass of their own.
"""

from __future__ import annotations

from torch import Tensor

from fovea.atari.frames import Frames
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.spr import PLAIN, SPR
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.components import ComponentsTask
from fovea.seeding import Draws


class Recipe(SPR):
    """SPR's prediction plus the game's principal components.

    Args:
        prediction: coefficient of SPR's loss.
        components: coefficient of the share of the components' variance that is not explained.
        count: components of each game.
        components_width: hidden width of the head that predicts the components.
        augment: augmentations of every window, drawn for each window anew.
        steps: agent steps that are predicted.
        embedding: width of an action; the same index in two games is two actions.
        projector: hidden width of projector and predictor.
        out: width of the projections and predictions.
        momentum: of the teacher.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    def __init__(
        self,
        prediction: float = 1.0,
        components: float = 5.0,
        count: int = 192,
        components_width: int = 512,
        augment: list[dict] = PLAIN,
        steps: int = 5,
        embedding: int = 32,
        projector: int = 1024,
        out: int = 256,
        momentum: float = 0.99,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: int = 0,
    ):
        super().__init__(
            augment, steps, embedding, projector, out, momentum,
            encoder, optimisation, compiled, seed,
        )  # fmt: skip
        self.prediction, self.components = prediction, components
        self.components_task = ComponentsTask(self.encoder.dim, count, components_width, self.seed)

    def prepare(self, frames: Frames) -> None:
        self.components_task.prepare(frames, self.encoder.stack)

    def views(
        self, windows: Tensor, draws: Draws, action: Tensor, game: Tensor
    ) -> tuple[Tensor, ...]:
        """The components (B, count) of the screens now, not augmented; then the views of SPR."""
        target = self.components_task.target(windows[:, 0], game[:, 0])
        return target, *super().views(windows, draws, action, game)

    def losses(
        self, target: Tensor, action: Tensor, game: Tensor, now: Tensor, *later: Tensor
    ) -> dict[str, Tensor]:
        (now,), later = self.encode(now), self.encode(*later, by=self.teacher)
        target, action, game = self.gather(target, action, game)
        return {
            "prediction": self.prediction * self.prediction_loss(now, later, action, game),
            "components": self.components * self.components_task(now, target, game),
        }
