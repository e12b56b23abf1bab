"""DINO (Caron et al. 2021, arXiv 2104.14294): say of small crops what the teacher says of large."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.pretrain.augment import Chain, augment, check
from fovea.pretrain.objectives.two_views import TwoViews
from fovea.pretrain.optim import cosine
from fovea.pretrain.terms.precision import full_precision
from fovea.pretrain.terms.teacher import copied, follow
from fovea.seeding import Draws, Stream, seeded

GLOBAL: Chain = [{"name": "resized_crop", "scale": [0.4, 1.0]}, {"name": "intensity"}]
LOCAL: Chain = [{"name": "resized_crop", "scale": [0.05, 0.4], "side": 42}, {"name": "intensity"}]


class DINO(TwoViews):
    """Two global views, which the teacher sees, and local crops, which only the student sees.

    Args:
        augment_first, augment_second: the chains of the global views.
        augment_local: the chain of the local crops; its `side` makes them smaller.
        local_crops: how many of them there are.
        hidden, bottleneck, prototypes: widths of the head.
        student_temperature: of the student's softmax.
        teacher_temperatures: of the teacher's, at first and after `warmup`.
        warmup: share of the run over which the teacher's temperature rises linearly.
        centre_momentum: of the mean that is taken off the teacher's logits.
        momentum: of the teacher at first; it goes to 1 along a half-cosine.
        frozen: share of the run over which the prototypes stay as they were drawn.
    """

    def __init__(
        self,
        augment_first: list[dict] = GLOBAL,
        augment_second: list[dict] = GLOBAL,
        augment_local: list[dict] = LOCAL,
        local_crops: int = 4,
        hidden: int = 512,
        bottleneck: int = 128,
        prototypes: int = 1024,
        student_temperature: float = 0.1,
        teacher_temperatures: tuple[float, float] = (0.04, 0.07),
        warmup: float = 0.3,
        centre_momentum: float = 0.9,
        momentum: float = 0.99,
        frozen: float = 0.01,
        **two_views,
    ):
        super().__init__(augment_first=augment_first, augment_second=augment_second, **two_views)
        self.local_chains = [check(augment_local)] * local_crops
        self.student_temperature = student_temperature
        self.teacher_temperatures, self.warmup = teacher_temperatures, warmup
        self.centre_momentum, self.momentum, self.frozen = centre_momentum, momentum, frozen
        with seeded(Stream.PROJECTOR, self.seed):
            self.head = Head(self.encoder.dim, hidden, bottleneck, prototypes)
        self.teacher, self.teacher_head = copied(self.encoder), copied(self.head)
        self.register_buffer("centre", torch.zeros(prototypes))

    @property
    def teacher_temperature(self) -> float:
        return self._temperature(self.done)

    def _temperature(self, done: float) -> float:
        first, last = self.teacher_temperatures
        return first + (last - first) * (min(1.0, done / self.warmup) if self.warmup else 1.0)

    def schedules(self, step: int, steps: int) -> dict[str, float]:
        done = min(step, steps - 1) / steps
        return super().schedules(step, steps) | {
            "the teacher's momentum": cosine(self.momentum, 1.0, done),
            "the teacher's temperature": self._temperature(done),
        }

    def views(self, windows: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """Two global views (B, stack, H, W) uint8, then local crops (B, stack, side, side)."""
        local = (augment(windows[:, 0], draws, chain) for chain in self.local_chains)
        return *super().views(windows, draws), *local

    def losses(self, *views: Tensor) -> dict[str, Tensor]:
        wide, local = views[:2], views[2:]
        seen = self.encode(*wide)
        if local:
            seen += self.encode(*local, by=self.encoder.encode_crops)
        student = self.head(torch.stack([view.summary for view in seen]))
        taught = self.encode(*wide, by=self.teacher)
        self.taught = self.teacher_head(torch.stack([view.summary for view in taught]))
        loss = dino_loss(
            student,
            self.taught,
            self.centre,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
        return {"distillation": loss}

    def on_after_backward(self) -> None:
        if self.done < self.frozen:
            # Without a gradient an optimiser leaves a weight alone, decay and momentum included.
            self.head.prototypes.grad = None

    def stepped(self) -> None:
        momentum = cosine(self.momentum, 1.0, self.done)
        follow(self.teacher, self.encoder, momentum)
        follow(self.teacher_head, self.head, momentum)
        self.centre.copy_(centred(self.centre, self.taught, momentum=self.centre_momentum))


class Head(nn.Module):
    """An MLP to a unit vector, and its cosines with the prototypes (a weight norm with g = 1).

    Its input is normalised over the batch, which the authors' is not: screens of a game differ so
    little that without it the teacher's centred logits are all alike, its targets uniform, and
    nothing is learned but that.
    """

    def __init__(self, dim: int, hidden: int, bottleneck: int, prototypes: int):
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
    said = (student / student_temperature).log_softmax(-1)
    taught = ((teacher - centre) / teacher_temperature).softmax(-1)
    pairs = -torch.einsum("tbk,vbk->tv", taught, said) / student.shape[1]
    return (pairs.sum() - pairs.diagonal().sum()) / (pairs.numel() - 2)


@full_precision
def centred(centre: Tensor, teacher: Tensor, *, momentum: float) -> Tensor:
    """The centre (K,) that follows the mean of the teacher's logits (2, B, K)."""
    return centre.lerp(teacher.mean((0, 1)), 1 - momentum)
