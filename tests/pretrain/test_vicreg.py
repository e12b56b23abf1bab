"""VICReg's terms by hand, and what each of them notices."""

from __future__ import annotations

import pytest
import torch

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.vicreg import VICReg, vicreg_terms
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.mlp import mlp
from fovea.seeding import Draws, Stream


def test_terms_by_hand() -> None:
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    terms = vicreg_terms(x, y)
    assert terms["invariance"] == pytest.approx(0.5)  # differences 0, 1, 0, 1
    # Unbiased variances: x has 2 and 0, y has 2 and 2; only x's second feature is under 1.
    assert terms["variance"] == pytest.approx((1 - 1e-2) / 2 / 2)
    # Covariances off the diagonal: x has 0; y has 2, twice, squared and summed over D = 2.
    assert terms["covariance"] == pytest.approx(2 * 2**2 / 2)


@pytest.mark.parametrize("shape", [(8, 24), (24, 8)])
def test_the_covariance_is_that_of_features_however_it_is_summed(shape: tuple[int, int]) -> None:
    x, y = torch.randn(2, *shape, dtype=torch.float64)
    squares = sum(torch.cov(z.T).fill_diagonal_(0).pow(2).sum() for z in (x, y))
    torch.testing.assert_close(vicreg_terms(x, y)["covariance"], squares / shape[1])


def test_one_point_for_everything_costs_variance_alone() -> None:
    point = torch.ones(16, 8)
    terms = vicreg_terms(point, point)
    assert terms["invariance"] == 0
    assert terms["covariance"] == 0
    assert terms["variance"] == pytest.approx(0.99)


def test_it_is_symmetric_in_its_views() -> None:
    x, y = torch.randn(2, 32, 8)
    there, back = vicreg_terms(x, y), vicreg_terms(y, x)
    for name, value in there.items():
        torch.testing.assert_close(value, back[name])


def test_views_are_two_chains_over_the_screens_now() -> None:
    objective = VICReg(augment_first=[], augment_second=[{"name": "flip"}], expander=8)
    windows = torch.randint(0, 256, (4, 1, 4, 84, 84)).to(torch.uint8)
    first, second = objective.views(windows, Draws(Stream.VIEWS, 0, 0, 4, "cpu"))
    assert torch.equal(first, windows[:, 0])
    assert torch.equal(second, windows[:, 0].flip(-1))


def test_losses_are_weighted_and_named_apart() -> None:
    settings = {"expander": 8, "encoder": Shape(patch=42)}
    plain = VICReg(invariance=1, variance=1, covariance=1, **settings)
    heavy = VICReg(invariance=25, variance=5, covariance=2, **settings)
    views = torch.randint(0, 256, (2, 8, 4, 84, 84)).to(torch.uint8)
    once, weighted = plain.losses(*views), heavy.losses(*views)
    for name, factor in {"invariance": 25, "variance": 5, "covariance": 2}.items():
        torch.testing.assert_close(weighted[name], factor * once[name])


def test_losses_do_not_depend_on_what_was_drawn_before() -> None:
    objective = VICReg(expander=8, encoder=Shape(patch=42))
    windows = torch.randint(0, 256, (8, 1, 4, 84, 84)).to(torch.uint8)
    values = []
    for _ in range(2):
        torch.rand(3)
        views = objective.views(windows, Draws(Stream.VIEWS, 0, 5, 8, "cpu"))
        values.append([float(loss) for loss in objective.losses(*views).values()])
    assert values[0] == values[1]


def test_the_expander_is_bare_at_its_end() -> None:
    layers = [type(layer).__name__ for layer in mlp(4, 8, 8, 8)]
    assert layers == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]
    assert mlp(4, 8, 8, 8)[-1].bias is None


def test_summaries_can_be_compared_as_they_differ_within_a_game() -> None:
    settings = {"expander": 8, "encoder": Shape(patch=42), "augment_first": [], "later": 2}
    objective = VICReg(center_per_game=True, **settings)
    windows = torch.randint(0, 256, (6, 2, 4, 84, 84)).to(torch.uint8)
    game = torch.tensor([0, 0, 0, 1, 1, 1])
    views = objective.views(windows, Draws(Stream.VIEWS, 0, 0, 6, "cpu"), game[:, None])
    assert objective.labels == ("game",)
    assert torch.equal(views[2], game)
    summaries = [view.summary for view in objective.encode(*views[:2])]
    centered = [center_per_game(summary, game) for summary in summaries]
    ours, theirs = objective.losses(*views), objective.terms(*centered)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value)
