"""Inverse dynamics (Pathak et al. 2017, arXiv 1705.05363): which action led from now to next?

The accuracy has an upper bound below 1. Some actions have the same effect, such as firing when
there is nothing to fire; and with sticky actions the first frames of a step may repeat the action
of the step before, each with the probability that the recordings have (0.25).
"""

from __future__ import annotations

from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.inverse_dynamics import InverseTask
from fovea.seeding import Draws, Stream, seeded


class InverseDynamics(Objective):
    """A head predicts from two neighbouring windows which of its game's actions was taken.

    See `terms.inverse_dynamics`, which other objectives take as an added term.

    Args:
        width: hidden width of the head.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    offsets = (0, 1)
    labels = ("action", "game")

    def __init__(
        self,
        width: PositiveInt = 256,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        with seeded(Stream.OBJECTIVE_HEAD, self.seed):
            self.head = InverseTask(self.state_dim, 1, width)

    def views(
        self, windows: Tensor, draws: Draws, action: Tensor, game: Tensor
    ) -> tuple[Tensor, ...]:
        """(B, stack, H, W) uint8 now and next, the action between them (B, 1), the game (B,)."""
        return *windows.unbind(1), action[:, :1], game[:, 0]

    def losses(self, now: Tensor, later: Tensor, action: Tensor, game: Tensor) -> dict[str, Tensor]:
        now, later = (self.state(window) for window in self.encode(now, later))
        loss, accuracy = self.head(now, later, *self.gather(action, game))
        self.note(action_accuracy=accuracy)
        return {"action": loss}
