"""Temporal order alone: the task of TOV-VICReg without VICReg, as a control."""

from __future__ import annotations

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from fovea.atari.frames import Frames
from fovea.metrics import ORDER_ACCURACY
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.order import OrderTask
from fovea.seeding import Draws


class TemporalOrder(Objective):
    """Are three windows of screens in the order in which they happened?

    Args:
        gaps: distances between neighbouring windows, in agent steps; each sample draws one.
        width: hidden width of the order head.
        motion: the least mean absolute difference between neighbouring windows, in grey levels,
            for a sample to count.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    def __init__(
        self,
        gaps: tuple[PositiveInt, ...] = (4, 6),
        width: PositiveInt = 256,
        motion: NonNegativeFloat = 0.05,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        self.task = OrderTask(self.state_dim, gaps, width, motion, self.seed)
        self.offsets = self.task.offsets

    def places(self, at: Tensor, frames: Frames, draws: Draws) -> Tensor:
        return self.task.places(at, draws)

    def views(self, windows: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """Three windows (B, 3, stack, H, W) uint8, their order (B, 3), which count (B,)."""
        return windows, *self.task.draw_order(windows, draws)

    def losses(self, three, order, moved) -> dict[str, Tensor]:
        states = [self.state(window) for window in self.encode(*three.unbind(1))]
        loss, accuracy = self.task(states, *self.gather(order, moved))
        self.note(**{ORDER_ACCURACY: accuracy})
        return {"order": loss}
