"""Elastic weight consolidation (Kirkpatrick et al. 2017, arXiv 1612.00796), online."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveInt
from torch import Tensor

from fovea.agents.adaptation.base import FineTuned
from fovea.pretrain.encoders.encoder import Encoder


class EWC(FineTuned):
    """Learns with the heads, but less where earlier games depend on a weight.

    weight/2 * sum F (w - w*)^2 over the encoder's weights is added to the loss of every later game:
    w* are the weights when the last game ended, F is the diagonal Fisher information summed over
    all games so far (the single quadratic of Schwarz et al. 2018, arXiv 1805.06370, without decay).
    F is the mean of the squared gradients of the agent's loss over minibatches (the empirical
    Fisher), smaller by about the batch size than that of single samples: `weight` makes up for it.

    Args:
        encoder: a reference or an encoder.
        lr_scale: its learning rate as a share of the heads'; 1 for one that starts untrained.
        weight: of the penalty.
        batches: minibatches that F is estimated on when a game ends.
    """

    def __init__(
        self,
        encoder: str | Encoder,
        lr_scale: NonNegativeFloat = 0.1,
        weight: NonNegativeFloat = 400.0,
        batches: PositiveInt = 10,
    ):
        super().__init__(encoder, lr_scale)
        self.weight, self.batches = weight, batches
        for number, weights in enumerate(self.encoder.parameters()):
            self.register_buffer(f"fisher_{number}", torch.zeros_like(weights))
            self.register_buffer(f"anchor_{number}", weights.detach().clone())

    def penalties(self) -> dict[str, Tensor]:
        pulls = [
            (fisher * (weights - anchor).square()).sum()
            for weights, fisher, anchor in zip(
                self.encoder.parameters(), *self._buffers_by_weight(), strict=True
            )
        ]
        return {"ewc": 0.5 * self.weight * torch.stack(pulls).sum()}

    def on_task_end(self, losses: Iterator[Tensor]) -> None:
        fishers, anchors = self._buffers_by_weight()
        parameters = list(self.encoder.parameters())
        for loss in islice(losses, self.batches):
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            for fisher, gradient in zip(fishers, gradients, strict=True):
                if gradient is not None:
                    fisher += gradient.square() / self.batches
        for anchor, weights in zip(anchors, parameters, strict=True):
            anchor.copy_(weights.detach())

    def _buffers_by_weight(self) -> tuple[list[Tensor], list[Tensor]]:
        """Fisher information and anchors in the order of the encoder's parameters."""
        numbers = range(len(list(self.encoder.parameters())))
        fishers = [self.get_buffer(f"fisher_{number}") for number in numbers]
        return fishers, [self.get_buffer(f"anchor_{number}") for number in numbers]
