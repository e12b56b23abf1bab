"""TOV-VICReg, repaired: VICReg on augmented views, temporal order on windows as they were seen.

What differs from the published code (see tov_vicreg_paper.py), and why:

* the three windows of the order term are treated alike and neither shifted nor cropped: with one
  shared shift of a single pixel the order was not learned, and with unequal crops the head can
  tell the middle window by its crop instead of by time;
* the head's input is what sets the three windows of a sample apart, normalised over the batch:
  from raw features it starves for scale, and in a batch of several games the differences between
  games drown those in time (`python -m benchmarks.order` measures it);
* windows are chronological, half of the samples in order, several gaps, and a sample counts only
  where the screens moved, since windows without motion have no order;
* the head is a small MLP, because a linear one cannot compare positions.
"""

from __future__ import annotations

from torch import Tensor

from fovea.atari.frames import Frames
from fovea.pretrain.objectives.vicreg import VICReg
from fovea.pretrain.terms.order import OrderTask
from fovea.seeding import Draws


class TOVVICReg(VICReg):
    """VICReg plus temporal-order verification (Goulao & Oliveira 2022), in its repaired form.

    Args:
        order: coefficient of the order term.
        gaps, width, motion: of the order task, see `terms.order.OrderTask`.
    """

    def __init__(
        self,
        order: float = 10.0,
        gaps: tuple[int, ...] = (2, 4, 8),
        width: int = 256,
        motion: float = 0.05,
        **vicreg,
    ):
        super().__init__(later=0, **vicreg)
        self.order = order
        self.task = OrderTask(self.encoder.dim, gaps, width, motion, self.seed)
        self.offsets = self.task.offsets

    def places(self, at: Tensor, frames: Frames, draws: Draws) -> Tensor:
        return self.task.places(at, draws)

    def views(self, windows: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """Two augmented views of the screens now, the three windows, their order, which count.

        (B, stack, H, W) uint8 twice, (B, 3, stack, H, W) uint8 chronologically, (B, 3) int64,
        (B,) float.
        """
        now = windows[:, 1:2]
        return *super().views(now, draws), windows, *self.task.ask(windows, draws)

    def losses(self, first, second, three, order, moved) -> dict[str, Tensor]:
        first, second, *three = self.encode(first, second, *three.unbind(1))
        loss, accuracy = self.task(three, *self.join(order, moved))
        self.note(order_accuracy=accuracy)
        return {**self.terms(first.summary, second.summary), "order": self.order * loss}
