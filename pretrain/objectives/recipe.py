"""Fovea's recipe: SPR, inverse dynamics, and the principal components of each game.

Of the tasks that were tried, SPR and the components taught an encoder more of a game's state than
the control of random labels, and each teaches what the other does not: SPR scores and clocks, the
components where objects are. docs/objectives.md has the numbers. Inverse dynamics asks for what an
agent can change, and improved every method it was added to in the study of Zhang et al. 2022 (arXiv
2208.12345). All use the same features of the screens now.
"""

from __future__ import annotations

from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from fovea.atari.frames import Frames
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.spr import PLAIN, SPR
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.components import ComponentsTask
from fovea.pretrain.terms.inverse_dynamics import InverseTask
from fovea.seeding import Draws, Stream, seeded


class Recipe(SPR):
    """SPR's prediction, the actions up to the first window predicted, and the components.

    Args:
        prediction: coefficient of SPR's loss.
        inverse_weight: coefficient of inverse dynamics: which actions led from now to the first of
            the windows that SPR predicts? 0 leaves it out.
        inverse_width: hidden width of the head that names the actions.
        components: coefficient of the share of the components' variance that is not explained.
        count: components of each game.
        components_width: hidden width of the head that predicts the components.
        augment: augmentations of every window, drawn for each window anew.
        steps: which of the next agent steps are predicted, in ascending order; windows nearer than
            the encoder's stack share screens with those now.
        dense: coefficient of the dense prediction: each token, at its place, predicts the teacher's
            token there (see `terms.dense`); 0 leaves it out.
        embedding: width of an action; the same index in two games is two actions.
        projector: hidden width of projector and predictor.
        out: width of the projections and predictions.
        momentum: of the teacher.
        last_momentum: of the teacher at the end of a half-cosine; None: it is constant.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    def __init__(
        self,
        prediction: NonNegativeFloat = 1.0,
        inverse_weight: NonNegativeFloat = 1.0,
        inverse_width: PositiveInt = 256,
        components: NonNegativeFloat = 5.0,
        count: PositiveInt = 192,
        components_width: PositiveInt = 512,
        augment: list[dict] = PLAIN,
        steps: tuple[PositiveInt, ...] = (4, 8),
        dense: NonNegativeFloat = 0.0,
        embedding: PositiveInt = 32,
        projector: PositiveInt = 1024,
        out: PositiveInt = 256,
        momentum: ClosedUnitInterval = 0.99,
        last_momentum: ClosedUnitInterval | None = 1.0,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(
            augment, steps, dense, embedding, projector, out, momentum, last_momentum,
            encoder, optimisation, compiled, seed,
        )  # fmt: skip
        self.prediction, self.components = prediction, components
        self.inverse_weight = inverse_weight
        self.components_task = ComponentsTask(self.state_dim, count, components_width, self.seed)
        if inverse_weight:
            with seeded(Stream.INVERSE_HEAD, self.seed):
                self.inverse_task = InverseTask(self.state_dim, self.steps[0], inverse_width)

    def prepare(self, frames: Frames) -> None:
        self.components_task.prepare(frames, self.encoder.stack)

    def views(
        self, windows: Tensor, draws: Draws, action: Tensor, game: Tensor
    ) -> tuple[Tensor, ...]:
        """The components (B, count) of the screens now, not augmented; then the views of SPR."""
        target = self.components_task.target(windows[:, 0], game[:, 0])
        return target, *super().views(windows, draws, action, game)

    def losses(  # type: ignore[override]  # it has views of its own
        self, target: Tensor, action: Tensor, game: Tensor, now: Tensor, *later: Tensor
    ) -> dict[str, Tensor]:
        # The window that the actions led to is encoded with gradients too.
        learning = (now, later[0]) if self.inverse_weight else (now,)
        seen, *led_to = self.encode(*learning)
        after = self.encode(*later, by=self.teacher)
        target, action, game = self.gather(target, action, game)
        losses = self.prediction_losses(seen, after, action, game)
        losses["prediction"] = self.prediction * losses["prediction"]
        state = self.state(seen)
        losses["components"] = self.components * self.components_task(state, target, game)
        if self.inverse_weight:
            then, between = self.state(led_to[0]), action[:, : self.steps[0]]
            loss, accuracy = self.inverse_task(state, then, between, game)
            losses["inverse"] = self.inverse_weight * loss
            self.note(action_accuracy=accuracy)
        return losses
