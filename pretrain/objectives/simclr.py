"""SimCLR (Chen et al. 2020, arXiv 2002.05709): find a sample's other view among all views."""

from __future__ import annotations

import torch
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.two_views import SHIFT_AND_INTENSITY, TwoViews
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.info_nce import cosines, info_nce, top1
from fovea.pretrain.terms.mlp import mlp
from fovea.seeding import Stream, seeded


class SimCLR(TwoViews):
    """Each of the 2 B views is nearer to the other view of its sample than to the rest.

    Args:
        projector: hidden width of the projector.
        out: width of its output.
        temperature: that the cosines are divided by.
        augment_first: augmentations of the first view.
        augment_second: augmentations of the second view.
        later: agent steps from the screens of the first view to those of the second.
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
        projector: PositiveInt = 1024,
        out: PositiveInt = 128,
        temperature: PositiveFloat = 0.2,
        augment_first: list[dict] = SHIFT_AND_INTENSITY,
        augment_second: list[dict] = SHIFT_AND_INTENSITY,
        later: NonNegativeInt = 0,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
        center_per_game: bool = False,
        inverse_weight: NonNegativeFloat = 0.0,
    ):
        super().__init__(
            augment_first, augment_second, later, encoder, optimisation, compiled, seed,
            center_per_game, inverse_weight,
        )  # fmt: skip
        self.temperature = temperature
        with seeded(Stream.PROJECTOR, self.seed):
            self.projector = mlp(self.encoder.summary_dim, projector, out)

    def losses(
        self, first: Tensor, second: Tensor, game: Tensor | None = None, *inverse: Tensor
    ) -> dict[str, Tensor]:
        first, second = map(self.projector, self.summaries(self.encode(first, second), game))
        scores = view_scores(first, second) / self.temperature
        self.note(top1=top1(scores))
        return {"contrast": info_nce(scores)} | self.inverse_losses(game, *inverse)


def view_scores(x: Tensor, y: Tensor) -> Tensor:
    """(2 B, 2 B) cosines of views x, y (B, D), for `info_nce`.

    Column i is that of view i of both batches one after the other, and row i that of the other
    view of the same sample. A view scores -inf with itself.
    """
    views = torch.cat([x, y])
    return cosines(views, views).fill_diagonal_(-torch.inf).roll(len(x), 0)
