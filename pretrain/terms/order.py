"""Temporal order: are windows of screens shown in the order in which they happened?

Misra, Zitnick, Hebert 2016 (arXiv 1603.08561), in the form of Goulao & Oliveira 2022
(arXiv 2209.10901): representations of three windows are concatenated in some order and a head
says whether it is the true one. `OrderTask` is the repaired form that TOV-VICReg and TemporalOrder
share; tov_vicreg.py says what it mends.
"""

from __future__ import annotations

from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.pretrain.terms.centering import center_per_sample
from fovea.pretrain.terms.weighted_mean import weighted_mean
from fovea.seeding import Draws, Stream, seeded

# All orders of three windows; row 0 is the true one.
ORDERS = torch.tensor(list(permutations(range(3))))
# What the task shows: the true order, or one neighbouring pair swapped. The reverse is left out: a
# game played backwards can look like a game.
TRUE, SWAPPED = ORDERS[:1], ORDERS[[1, 2]]


class OrderTask(nn.Module):
    """Three windows before, now and after; a head says whether they are shown in order.

    Args:
        dim: S, width of the state that is read of a window.
        gaps: distances between neighbouring windows, in agent steps; each sample draws one.
        width: hidden width of the head.
        motion: the least mean absolute difference between neighbouring windows, in grey levels,
            for a sample to count.
        seed: of the head's initial weights.

    Attributes:
        offsets: agent steps from an anchor that its episode must hold.
    """

    def __init__(self, dim: int, gaps: tuple[int, ...], width: int, motion: float, seed: int):
        super().__init__()
        self.offsets = (-max(gaps), 0, max(gaps))
        self.motion = motion
        self.register_buffer("gaps", torch.tensor(gaps), persistent=False)
        self.register_buffer("shown", torch.cat([TRUE, SWAPPED]), persistent=False)
        inside = 3 * dim
        with seeded(Stream.OBJECTIVE_HEAD, seed):
            self.head = nn.Sequential(
                nn.BatchNorm1d(inside, affine=False),
                nn.Linear(inside, width),
                nn.ReLU(),
                nn.Linear(width, 1),
            )

    def places(self, at: Tensor, draws: Draws) -> Tensor:
        """(B, 3) int64: before, now and after the anchors, at one gap a sample."""
        gap = self.gaps[draws.integers(len(self.gaps))]
        return at[:, None] + gap[:, None] * torch.tensor([-1, 0, 1], device=at.device)

    def draw_order(self, windows: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """The order in which windows (B, 3, stack, H, W) are shown, and which samples count.

        (B, 3) int64, half of them 0 1 2; (B,) float, 1 where all neighbours differ by `motion`.
        """
        swap = draws.chance(0.5) * (1 + draws.integers(len(SWAPPED)))
        newest = windows[:, :, -1].float()
        change = (newest[:, 1:] - newest[:, :-1]).abs().mean(dim=(2, 3))
        return self.shown[swap], (change >= self.motion).all(1).float()

    def forward(self, three: list[Tensor], order: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of the order of states (B, S), over the samples that `moved` (B,)."""
        windows = torch.stack(three, 1)
        logits = order_logits(self.head, center_per_sample(windows), order)
        shuffled = (order != torch.arange(3, device=order.device)).any(1)
        return order_loss(logits, shuffled, moved), accuracy(logits, shuffled, moved)


def order_logits(head: nn.Module, windows: Tensor, orders: Tensor) -> Tensor:
    """(B,) logits that windows (B, 3, D) are out of order when shown in `orders` (B, 3)."""
    shown = windows.gather(1, orders[:, :, None].expand_as(windows))
    return head(shown.flatten(1)).squeeze(1)


def order_loss(logits: Tensor, shuffled: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy of logits (B,) against `shuffled` (B,): 1 = out of order.

    `weight` (B,): 1 for the samples that the mean is over, 0 for the others.
    """
    loss = F.binary_cross_entropy_with_logits(logits, shuffled.to(logits.dtype), reduction="none")
    return weighted_mean(loss, weight)


def accuracy(logits: Tensor, shuffled: Tensor, weight: Tensor | None = None) -> Tensor:
    """The share of samples whose logit (B,) has the right sign."""
    return weighted_mean(((logits > 0) == shuffled.bool()).float(), weight)
