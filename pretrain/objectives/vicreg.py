"""VICReg (Bardes, Ponce, LeCun 2022, arXiv 2105.04906): invariance, variance, covariance."""

from __future__ import annotations

import torch.nn.functional as F
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.two_views import SHIFT_AND_INTENSITY, TwoViews
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.mlp import mlp
from fovea.pretrain.terms.precision import full_precision
from fovea.seeding import Stream, seeded


class VICReg(TwoViews):
    """Two augmented views of the same screens agree, every feature varies, no two covary.

    Args:
        expander: width of the three layers that the summary is expanded by.
        invariance: coefficient of the distance of the two views.
        variance: coefficient of the hinge on every feature's standard deviation.
        covariance: coefficient of the squared covariances of different features.
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
        expander: PositiveInt = 1024,
        invariance: NonNegativeFloat = 25.0,
        variance: NonNegativeFloat = 25.0,
        covariance: NonNegativeFloat = 1.0,
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
        self.coefficients = {
            "invariance": invariance,
            "variance": variance,
            "covariance": covariance,
        }
        with seeded(Stream.PROJECTOR, self.seed):
            self.expander = mlp(self.encoder.summary_dim, expander, expander, expander)

    def losses(
        self, first: Tensor, second: Tensor, game: Tensor | None = None, *inverse: Tensor
    ) -> dict[str, Tensor]:
        first, second = self.summaries(self.encode(first, second), game)
        return self.terms(first, second) | self.inverse_losses(game, *inverse)

    def terms(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        """The weighted terms of two batches of summaries (B, D)."""
        terms = vicreg_terms(self.expander(first), self.expander(second))
        return {name: self.coefficients[name] * value for name, value in terms.items()}


@full_precision
def vicreg_terms(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Invariance, variance and covariance of embeddings x, y (B, D), without coefficients.

    As the authors' code has it: the variance term is the mean of both views (the paper's equation
    has their sum), the covariance term their sum over D (facebookresearch/vicreg).
    """
    return {
        "invariance": F.mse_loss(x, y),
        "variance": (_hinge(x) + _hinge(y)) / 2,
        "covariance": _covariance(x) + _covariance(y),
    }


def _hinge(x: Tensor) -> Tensor:
    """How far the standard deviation of each feature is below 1, on average."""
    return F.relu(1 - (x.var(dim=0) + 1e-4).sqrt()).mean()


def _covariance(x: Tensor) -> Tensor:
    """The sum of the squared covariances of different features, over D."""
    batch, dim = x.shape
    x = (x - x.mean(dim=0)) / (batch - 1) ** 0.5
    # The products of samples have the same sum of squares as those of features, the covariances.
    products = x @ x.mT if batch < dim else x.mT @ x
    return (products.pow(2).sum() - x.pow(2).sum(dim=0).pow(2).sum()) / dim
