"""MoCo v3 (Chen, Xie, He 2021, arXiv 2104.02057): find the teacher's key of the other view."""

from __future__ import annotations

from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from fovea.pretrain.encoders.vit import Shape, ViT
from fovea.pretrain.objectives.two_views import SHIFT_AND_INTENSITY, TwoViews
from fovea.pretrain.optim import Optimisation, cosine, share
from fovea.pretrain.terms.info_nce import cosines, info_nce
from fovea.pretrain.terms.mlp import mlp
from fovea.pretrain.terms.teacher import ema_update, make_teacher
from fovea.seeding import Stream, seeded


class MoCoV3(TwoViews):
    """The student's query of a view matches the teacher's key of the other, and no other sample's.

    The patch embedding and the positions keep their initial weights: training the patch embedding
    made the authors' ViTs unstable. So positions are sines and cosines by default, and the config
    makes the initial weights of the patch embedding larger by `patch_gain`.

    Args:
        projector: hidden width of projector and predictor.
        out: width of queries and keys.
        temperature: that their cosines are divided by.
        momentum: of the teacher at first; it goes to 1 along a half-cosine.
        augment_first: augmentations of the first view.
        augment_second: augmentations of the second view.
        later: agent steps from the screens of the first view to those of the second.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    def __init__(
        self,
        projector: PositiveInt = 1024,
        out: PositiveInt = 256,
        temperature: PositiveFloat = 0.2,
        momentum: ClosedUnitInterval = 0.99,
        augment_first: list[dict] = SHIFT_AND_INTENSITY,
        augment_second: list[dict] = SHIFT_AND_INTENSITY,
        later: NonNegativeInt = 0,
        encoder: Shape = Shape(positions="sincos"),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(
            augment_first, augment_second, later, encoder, optimisation, compiled, seed
        )
        self.temperature, self.momentum = temperature, momentum
        if isinstance(self.encoder, ViT):
            self.encoder.vit.patch_embed.requires_grad_(False)
            self.encoder.vit.pos_embed.requires_grad_(False)
        with seeded(Stream.PROJECTOR, self.seed):
            self.projector = _normed(self.encoder.summary_dim, projector, projector, out)
            self.predictor = _normed(out, projector, out)
        self.teacher = make_teacher(self.encoder)
        self.teacher_projector = make_teacher(self.projector)

    def losses(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        student = self.encode(first, second)
        queries = [self.predictor(self.projector(view.summary)) for view in student]
        teacher = self.encode(first, second, by=self.teacher)
        keys = [self.teacher_projector(view.summary) for view in teacher]
        return {"contrast": moco_loss(*queries, *keys, temperature=self.temperature)}

    def schedules(self, step: int, steps: int) -> dict[str, float]:
        momentum = cosine(self.momentum, 1.0, share(step, steps))
        return super().schedules(step, steps) | {"the teacher's momentum": momentum}

    def after_optimizer_step(self) -> None:
        momentum = cosine(self.momentum, 1.0, self.progress)
        ema_update(self.teacher, self.encoder, momentum)
        ema_update(self.teacher_projector, self.projector, momentum)


def moco_loss(q1: Tensor, q2: Tensor, k1: Tensor, k2: Tensor, *, temperature: float) -> Tensor:
    """Cross-entropies of finding k2 from q1 and k1 from q2 (B, D) in the batch, times 2 T."""
    crossed = info_nce(cosines(q1, k2) / temperature) + info_nce(cosines(q2, k1) / temperature)
    return 2 * temperature * crossed


def _normed(*widths: int) -> nn.Sequential:
    """An `mlp` that ends in a BatchNorm without scale and shift."""
    return nn.Sequential(*mlp(*widths), nn.BatchNorm1d(widths[-1], affine=False))
