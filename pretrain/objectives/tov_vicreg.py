"""TOV-VICReg, repaired: VICReg on augmented views, temporal order on windows as they were seen.

What differs from the published code (see tov_vicreg_paper.py), and why:

* the three windows of the order term are treated alike and neither shifted nor cropped: with one
  shared shift of a single pixel the order was not learned, and with unequal crops the head can
  recognise the middle window by its crop instead of by time;
* the head takes the differences of a sample's windows from their mean, normalised over the batch:
  in raw features these differences are too small to learn from, and in a batch of several games
  those between games are much larger (`python -m benchmarks.order` measures it);
* windows are chronological, half of the samples in order, several gaps, and a sample counts only
  where the screens moved, since windows without motion have no order;
* the head is a small MLP, because a linear one cannot compare positions.
"""

from __future__ import annotations

import torch
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from fovea.atari.frames import Frames
from fovea.metrics import ORDER_ACCURACY
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.two_views import SHIFT_AND_INTENSITY
from fovea.pretrain.objectives.vicreg import VICReg
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.order import OrderTask
from fovea.seeding import Draws


class TOVVICReg(VICReg):
    """VICReg plus temporal-order verification (Goulao & Oliveira 2022), in its repaired form.

    Args:
        order: coefficient of the order term.
        gaps: distances between neighbouring windows, in agent steps; each sample draws one.
        width: hidden width of the order head.
        motion: the least mean absolute difference between neighbouring windows, in grey levels,
            for a sample to count.
        expander: width of the three layers that the summary is expanded by.
        invariance: coefficient of the distance of the two views.
        variance: coefficient of the hinge on every feature's standard deviation.
        covariance: coefficient of the squared covariances of different features.
        augment_first: augmentations of the first view.
        augment_second: augmentations of the second view.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
        center_per_game: compare summaries as they differ within a game.
        inverse_weight: coefficient of inverse dynamics as an added term (see `TwoViews`); 0 leaves
            it out.
    """

    def __init__(
        self,
        order: NonNegativeFloat = 10.0,
        gaps: tuple[PositiveInt, ...] = (2, 4, 8),
        width: PositiveInt = 256,
        motion: NonNegativeFloat = 0.05,
        expander: PositiveInt = 1024,
        invariance: NonNegativeFloat = 25.0,
        variance: NonNegativeFloat = 25.0,
        covariance: NonNegativeFloat = 1.0,
        augment_first: list[dict] = SHIFT_AND_INTENSITY,
        augment_second: list[dict] = SHIFT_AND_INTENSITY,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
        center_per_game: bool = False,
        inverse_weight: NonNegativeFloat = 0.0,
    ):
        super().__init__(
            expander, invariance, variance, covariance, augment_first, augment_second, 0,
            encoder, optimisation, compiled, seed, center_per_game, inverse_weight,
        )  # fmt: skip
        self.order = order
        self.task = OrderTask(self.state_dim, gaps, width, motion, self.seed)
        self.offsets = self.task.offsets + self.inverse_offsets

    def places(self, at: Tensor, frames: Frames, draws: Draws) -> Tensor:
        inverse = at[:, None] + torch.tensor(self.inverse_offsets, dtype=at.dtype, device=at.device)
        return torch.cat([self.task.places(at, draws), inverse], dim=1)

    def views(
        self,
        windows: Tensor,
        draws: Draws,
        game: Tensor | None = None,
        action: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Two augmented views of the screens now, three windows, their order, which samples count.

        (B, stack, H, W) uint8 twice, (B, 3, stack, H, W) uint8 chronologically, (B, 3) int64,
        (B,) float; then what `added_views` has.
        """
        three, now = windows[:, :3], windows[:, 1]
        return (
            *self.augmented(now, now, draws),
            three,
            *self.task.draw_order(three, draws),
            *self.added_views(windows[:, 3:], game, action),
        )

    def losses(  # type: ignore[override]  # it has views of its own
        self, first, second, three, order, moved, game=None, *inverse
    ) -> dict[str, Tensor]:
        first, second, *three = self.encode(first, second, *three.unbind(1))
        states = [self.state(window) for window in three]
        loss, accuracy = self.task(states, *self.gather(order, moved))
        self.note(**{ORDER_ACCURACY: accuracy})
        return {
            **self.terms(*self.summaries([first, second], game)),
            "order": self.order * loss,
            **self.inverse_losses(game, *inverse),
        }
