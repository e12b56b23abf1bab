"""A small head that says in which order three stacks are shown.

What a stack shows of speed and place has to be held against the change from one stack to the next,
which no linear head does. So it has one hidden layer, and sees the three features less their mean
as well as that mean, both along the principal axes that vary most.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fovea.pretrain.terms.order import ORDERS
from fovea.probes.linear import Axes
from fovea.seeding import Stream, keyed, seeded
from fovea.threads import one_thread

KEPT = 64  # axes
HIDDEN = 256
STEPS = 400
BATCH = 128
RATE = 3e-3  # falls to zero along half a cosine
CHECKED = 50  # steps between two looks at validation
FORWARD, BACKWARD = 0, len(ORDERS) - 1


class Orders(NamedTuple):
    """Axes of what tells three stacks apart, and of what they have in common."""

    apart: Axes
    common: Axes

    @staticmethod
    def of(three: Tensor) -> Orders:
        """Of training features (n, 3, F)."""
        mean = three.mean(1, keepdim=True)
        return Orders(Axes.of((three - mean).flatten(0, 1)), Axes.of(mean[:, 0]))

    def shown(self, three: Tensor, order: Tensor) -> Tensor:
        """(n, 4 KEPT) what a head sees of (n, 3, F), in `order` (n, 3)."""
        mean = three.mean(1, keepdim=True)
        apart = self.apart.whiten((three - mean).flatten(0, 1))[:, -KEPT:].unflatten(0, (-1, 3))
        shown = apart.gather(1, order[:, :, None].expand_as(apart).to(apart.device))
        return torch.cat([shown.flatten(1), self.common.whiten(mean[:, 0])[:, -KEPT:]], dim=1)


class OrderHead(NamedTuple):
    """A trained head and what it sees."""

    axes: Orders
    head: nn.Module

    def logits(self, three: Tensor) -> Tensor:
        """(n, 6, 6): of (n, 3, F), shown in each order, how likely it is each of them."""
        with torch.no_grad():
            return torch.stack(
                [
                    self.head(self.axes.shown(three, order.expand(len(three), 3)))
                    for order in ORDERS
                ],
                dim=1,
            )


@one_thread()
def trained(axes: Orders, training: Tensor, validation: Tensor, seed: int) -> OrderHead:
    """The head after the steps, of those that are checked, with the least validation loss.

    Args:
        axes: of the training features.
        training, validation: (n, 3, F) features, the earliest first.
        seed: of initial weights and batches.
    """
    generator = keyed("cpu", Stream.PROBE_ORDERS, seed)
    every = torch.stack(
        [axes.shown(training, order.expand(len(training), 3)) for order in ORDERS], dim=1
    )
    width = every.shape[2]
    with seeded(Stream.PROBE_READ_OUT, seed):
        head = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(ORDERS)))
    head = head.to(training.device)
    found = OrderHead(axes, head)
    adam = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.1, fused=True)
    target = torch.arange(len(ORDERS), device=training.device).expand(len(validation), -1)
    lowest, kept = math.inf, {}
    for step in range(1, STEPS + 1):
        which = torch.randint(len(training), (BATCH,), generator=generator).to(training.device)
        order = torch.randint(len(ORDERS), (BATCH,), generator=generator).to(training.device)
        adam.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        adam.zero_grad()
        cross_entropy(head(every[which, order]), order).backward()
        adam.step()
        if step % CHECKED == 0:
            logits = found.logits(validation)
            loss = float(cross_entropy(logits.flatten(0, 1), target.flatten()))
            if loss < lowest:
                lowest = loss
                kept = {name: weight.clone() for name, weight in head.state_dict().items()}
    head.load_state_dict(kept)
    return found
