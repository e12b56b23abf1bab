"""Temporal order alone: the task of TOV-VICReg without VICReg, as a control of what it gives."""

from __future__ import annotations

from torch import Tensor

from fovea.atari.frames import Frames
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.terms.order import OrderTask
from fovea.seeding import Draws


class TemporalOrder(Objective):
    """Are three windows of screens in the order in which they happened?

    Args:
        gaps, width, motion: see `terms.order.OrderTask`.
    """

    def __init__(
        self, gaps: tuple[int, ...] = (4, 6), width: int = 256, motion: float = 0.05, **base
    ):
        super().__init__(**base)
        self.task = OrderTask(self.encoder.dim, gaps, width, motion, self.seed)
        self.offsets = self.task.offsets

    def places(self, at: Tensor, frames: Frames, draws: Draws) -> Tensor:
        return self.task.places(at, draws)

    def views(self, windows: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """Three windows (B, 3, stack, H, W) uint8, the order they are shown in, which count."""
        return windows, *self.task.ask(windows, draws)

    def losses(self, three, order, moved) -> dict[str, Tensor]:
        three = self.encode(*three.unbind(1))
        loss, accuracy = self.task(three, *self.join(order, moved))
        self.note(order_accuracy=accuracy)
        return {"order": loss}
