"""TOV-VICReg as the authors' code has it (Goulao & Oliveira 2022, arXiv 2209.10901).

A class of its own because it has, on purpose, everything that tov_vicreg.py repairs: windows are in
the order now, before, after; 6 orders are equally likely, so that 5 of 6 samples are out of order
(a constant answer has a cross-entropy of 0.4506); and only the window now is cropped, so that a
head which knows nothing but which window is cropped reaches 0.2310 without any sense of time.
"""

from __future__ import annotations

import torch
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from fovea.metrics import ORDER_ACCURACY
from fovea.pretrain.augment import augment, check
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.two_views import SHIFT_AND_INTENSITY
from fovea.pretrain.objectives.vicreg import VICReg
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.order import ORDERS, accuracy, order_logits, order_loss
from fovea.seeding import Draws, Stream, seeded


class PaperTOVVICReg(VICReg):
    """VICReg plus temporal-order verification with the published settings.

    Args:
        order: coefficient of the order term.
        gap: agent steps to the windows before and after.
        augment_neighbours: augmentations of those two windows.
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
    """

    def __init__(
        self,
        order: NonNegativeFloat = 0.1,
        gap: PositiveInt = 3,
        augment_neighbours: list[dict] = [],  # noqa: B006  (read only)
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
    ):
        super().__init__(
            expander, invariance, variance, covariance, augment_first, augment_second, 0,
            encoder, optimisation, compiled, seed,
        )  # fmt: skip
        self.order = order
        self.offsets = (0, -gap, gap)
        self.neighbours = check(augment_neighbours)
        self.register_buffer("shown", ORDERS.clone(), persistent=False)
        with seeded(Stream.OBJECTIVE_HEAD, self.seed):
            self.head = nn.Linear(3 * self.encoder.summary_dim, 1)

    def views(  # type: ignore[override]  # it adds nothing
        self, windows: Tensor, draws: Draws
    ) -> tuple[Tensor, ...]:
        """Two views of the screens now, the windows before and after, the order (B, 3)."""
        before, after = (augment(windows[:, k], draws, self.neighbours) for k in (1, 2))
        order = self.shown[draws.integers(len(ORDERS))]
        return *super().views(windows[:, :1], draws), before, after, order

    def losses(  # type: ignore[override]  # it has views of its own
        self, first, second, before, after, order
    ) -> dict[str, Tensor]:
        first, second, before, after = self.encode(first, second, before, after)
        (order,) = self.gather(order)
        slots = torch.stack([view.summary for view in (first, before, after)], 1)
        logits = order_logits(self.head, slots, order)
        shuffled = (order != torch.arange(3, device=order.device)).any(1)
        self.note(**{ORDER_ACCURACY: accuracy(logits, shuffled)})
        loss = self.order * order_loss(logits, shuffled)
        return {**self.terms(first.summary, second.summary), "order": loss}
