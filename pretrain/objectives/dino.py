"""DINO (Caron et al. 2021, arXiv 2104.14294): match small crops to large ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from fovea.command import UserError
from fovea.pretrain.augment import Chain, augment, check
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.two_views import TwoViews
from fovea.pretrain.optim import Optimisation, cosine, share
from fovea.pretrain.terms.precision import full_precision
from fovea.pretrain.terms.teacher import ema_update, make_teacher
from fovea.seeding import Draws, Stream, seeded

GLOBAL: Chain = [{"name": "resized_crop", "scale": [0.4, 1.0]}, {"name": "intensity"}]
LOCAL: Chain = [{"name": "resized_crop", "scale": [0.05, 0.4], "side": 42}, {"name": "intensity"}]


class DINO(TwoViews):
    """Two global views, which the teacher sees, and local crops, which only the student sees.

    Args:
        augment_first: augmentations of the first global view.
        augment_second: augmentations of the second global view.
        augment_local: augmentations of the local crops; the `side` of one makes them smaller.
        local_crops: number of local crops.
        hidden: width of the head's two hidden layers.
        bottleneck: width of the unit vectors that are compared with the prototypes.
        prototypes: number of prototypes, the width of the output.
        student_temperature: of the student's softmax.
        teacher_temperatures: of the teacher's, at first and after `warmup`.
        warmup: share of the run over which the teacher's temperature rises linearly.
        centre_momentum: of the mean that is subtracted from the teacher's logits.
        momentum: of the teacher at first; it goes to 1 along a half-cosine.
        frozen: share of the run over which the prototypes keep their initial weights.
        later: agent steps from the screens of the first global view to those of the second.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    def __init__(
        self,
        augment_first: list[dict] = GLOBAL,
        augment_second: list[dict] = GLOBAL,
        augment_local: list[dict] = LOCAL,
        local_crops: NonNegativeInt = 4,
        hidden: PositiveInt = 512,
        bottleneck: PositiveInt = 128,
        prototypes: PositiveInt = 1024,
        student_temperature: PositiveFloat = 0.1,
        teacher_temperatures: tuple[PositiveFloat, PositiveFloat] = (0.04, 0.07),
        warmup: ClosedUnitInterval = 0.3,
        centre_momentum: ClosedUnitInterval = 0.9,
        momentum: ClosedUnitInterval = 0.99,
        frozen: ClosedUnitInterval = 0.01,
        later: NonNegativeInt = 0,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(
            augment_first, augment_second, later, encoder, optimisation, compiled, seed
        )
        self.local_chains = [check(augment_local)] * local_crops
        if local_crops and not self.encoder.takes_crops:
            raise UserError(
                f"local_crops {local_crops}: a {self.encoder.architecture} takes whole screens "
                "alone, set it to 0, or take a ViT or another CNN"
            )
        self.student_temperature = student_temperature
        self.teacher_temperatures, self.warmup = teacher_temperatures, warmup
        self.centre_momentum, self.momentum, self.frozen = centre_momentum, momentum, frozen
        with seeded(Stream.PROJECTOR, self.seed):
            self.head = Head(self.encoder.summary_dim, hidden, bottleneck, prototypes)
        self.teacher, self.teacher_head = make_teacher(self.encoder), make_teacher(self.head)
        self.register_buffer("centre", torch.zeros(prototypes))

    @property
    def teacher_temperature(self) -> float:
        return self._temperature(self.progress)

    def _temperature(self, progress: float) -> float:
        first, last = self.teacher_temperatures
        share = min(1.0, progress / self.warmup) if self.warmup else 1.0
        return first + (last - first) * share

    def schedules(self, step: int, steps: int) -> dict[str, float]:
        progress = share(step, steps)
        return super().schedules(step, steps) | {
            "the teacher's momentum": cosine(self.momentum, 1.0, progress),
            "the teacher's temperature": self._temperature(progress),
        }

    def views(  # type: ignore[override]  # it adds nothing
        self, windows: Tensor, draws: Draws
    ) -> tuple[Tensor, ...]:
        """Two global views (B, stack, H, W) uint8, then local crops (B, stack, side, side)."""
        local = (augment(windows[:, 0], draws, chain) for chain in self.local_chains)
        return *super().views(windows, draws), *local

    def losses(self, *views: Tensor) -> dict[str, Tensor]:
        wide, local = views[:2], views[2:]
        student = self.encode(*wide)
        if local:
            student += self.encode(*local, by=self.encoder.encode_crops)
        teacher = self.encode(*wide, by=self.teacher)
        self.teacher_logits = self.teacher_head(torch.stack([view.summary for view in teacher]))
        loss = dino_loss(
            self.head(torch.stack([view.summary for view in student])),
            self.teacher_logits,
            self.centre,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
        return {"distillation": loss}

    def on_after_backward(self) -> None:
        if self.progress < self.frozen:
            # An optimiser skips a weight without gradient: no decay and no momentum either.
            self.head.prototypes.grad = None

    def after_optimizer_step(self) -> None:
        momentum = cosine(self.momentum, 1.0, self.progress)
        ema_update(self.teacher, self.encoder, momentum)
        ema_update(self.teacher_head, self.head, momentum)
        centre = next_centre(self.centre, self.teacher_logits, momentum=self.centre_momentum)
        self.centre.copy_(centre)


class Head(nn.Module):
    """An MLP to a unit vector, and its cosines with the prototypes (a weight norm with g = 1).

    Its input is normalised over the batch, unlike the authors': screens of a game differ so little
    that without it all samples get the same centred logits of the teacher, the targets are uniform,
    and nothing else is learned.
    """

    def __init__(
        self, dim: int, hidden: PositiveInt, bottleneck: PositiveInt, prototypes: PositiveInt
    ):
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False)
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        for weight in self.parameters():
            if weight.ndim > 1:
                nn.init.trunc_normal_(weight, std=0.02)
            else:
                nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        """(V, B, dim) to logits (V, B, prototypes) in [-1, 1]."""
        x = self.mlp(self.norm(x.flatten(0, 1))).unflatten(0, x.shape[:2])
        return F.linear(F.normalize(x, dim=-1), F.normalize(self.prototypes, dim=-1))


@full_precision
def dino_loss(
    student: Tensor,
    teacher: Tensor,
    centre: Tensor,
    *,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """Mean cross-entropy over all pairs of a teacher's view and another view of the student.

    student: logits (V, B, K) of the views; teacher: (2, B, K) of the first two; centre (K,).
    """
    prediction = (student / student_temperature).log_softmax(-1)
    target = ((teacher - centre) / teacher_temperature).softmax(-1)
    pairs = -torch.einsum("tbk,vbk->tv", target, prediction) / student.shape[1]
    return (pairs.sum() - pairs.diagonal().sum()) / (pairs.numel() - 2)


@full_precision
def next_centre(centre: Tensor, teacher: Tensor, *, momentum: float) -> Tensor:
    """The moving average (K,) of the mean of the teacher's logits (2, B, K), one step on."""
    return centre.lerp(teacher.mean((0, 1)), 1 - momentum)
