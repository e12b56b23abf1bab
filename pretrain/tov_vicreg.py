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

import torch
from torch import Tensor, nn

from pretrain.draws import Draws, seeded
from pretrain.encoder import Features
from pretrain.order import ORDERS, accuracy, order_logits, order_loss
from pretrain.vicreg import VICReg

HEAD = 2  # keeps its initial weights apart from the encoder's and the expander's
# What is shown: the true order, or one neighbouring pair swapped. The reverse is left out: a game
# played backwards can look like a game.
TRUE, SWAPPED = ORDERS[:1], ORDERS[[1, 2]]


class TOVVICReg(VICReg):
    """VICReg plus temporal-order verification (Goulao & Oliveira 2022), in its repaired form.

    Args:
        order: coefficient of the order term.
        gaps: distances between neighbouring windows, in agent steps; one is drawn a sample.
        width: hidden width of the order head.
        motion: the least mean absolute difference between neighbouring windows, in grey levels,
            for a sample to count.
    """

    def __init__(
        self,
        order: float = 10.0,
        gaps: tuple[int, ...] = (2, 4, 8),
        width: int = 256,
        motion: float = 0.05,
        **vicreg,
    ):
        super().__init__(**vicreg)
        self.order, self.motion = order, motion
        self.offsets = tuple(sorted({sign * gap for gap in gaps for sign in (-1, 0, 1)}))
        middle = self.offsets.index(0)
        # Which of the windows at `offsets` belong to each gap: before, now, after.
        triples = [(self.offsets.index(-gap), middle, self.offsets.index(gap)) for gap in gaps]
        self.register_buffer("triples", torch.tensor(triples), persistent=False)
        self.register_buffer("shown", torch.cat([TRUE, SWAPPED]), persistent=False)
        inside = 3 * 2 * self.encoder.dim
        with seeded(self.seed, HEAD):
            self.head = nn.Sequential(
                nn.BatchNorm1d(inside, affine=False),
                nn.Linear(inside, width),
                nn.ReLU(),
                nn.Linear(width, 1),
            )

    def views(self, windows: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """Two augmented views of the screens now, three windows, their order, what moved.

        (B, stack, H, W) uint8 twice, (B, 3, stack, H, W) uint8 chronologically, (B, 3) int64 as
        they are shown, (B,) float 1 where every neighbouring pair differs by `motion`.
        """
        batch = torch.arange(len(windows), device=windows.device)
        triple = self.triples[draws.integers(len(self.triples))]
        three = windows[batch[:, None], triple]
        swap = draws.chance(0.5) * (1 + draws.integers(len(SWAPPED)))
        now = windows[:, self.offsets.index(0), None]
        return *super().views(now, draws), three, self.shown[swap], self._moved(three)

    def losses(self, first, second, three, order, moved) -> dict[str, Tensor]:
        first, second, *windows = self.encode(first, second, *three.unbind(1))
        windows = torch.stack([seen(window) for window in windows], 1)
        logits = order_logits(self.head, apart(windows), order)
        shuffled = (order != torch.arange(3, device=order.device)).any(1)
        self.note(order_accuracy=accuracy(logits, shuffled, moved))
        loss = self.order * order_loss(logits, shuffled, moved)
        return {**self.terms(first.summary, second.summary), "order": loss}

    def _moved(self, three: Tensor) -> Tensor:
        newest = three[:, :, -1].float()
        change = (newest[:, 1:] - newest[:, :-1]).abs().mean(dim=(2, 3))
        return (change >= self.motion).all(1).float()


def seen(features: Features) -> Tensor:
    """(B, 2 D): the summary beside the mean token, which knows more of positions."""
    return torch.cat([features.summary, features.tokens.mean(1)], dim=1)


def apart(windows: Tensor) -> Tensor:
    """What sets the windows (B, 3, D) of a sample apart: each without the mean of the three."""
    return windows - windows.mean(1, keepdim=True)
