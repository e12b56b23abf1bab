"""Barlow Twins' terms by hand, and what they do not notice."""

from __future__ import annotations

import pytest
import torch

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.barlow_twins import BarlowTwins, barlow_terms

A, B = torch.tensor([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]], dtype=torch.float64)
SMALL = {"encoder": Shape(patch=42), "projector": 8}


def test_terms_by_hand() -> None:
    terms = barlow_terms(torch.stack([A, B], 1), torch.stack([A, A], 1))
    # The cross-correlation is 1 1 / 0 0.
    assert terms["invariance"] == pytest.approx(1, abs=1e-4)
    assert terms["redundancy"] == pytest.approx(1, abs=1e-4)


def test_the_identity_costs_nothing_whatever_mean_and_scale() -> None:
    x = torch.stack([A, B], 1)
    terms = barlow_terms(3 * x + 5, 0.5 * x - 1)
    assert terms["invariance"] == pytest.approx(0, abs=1e-4)
    assert terms["redundancy"] == pytest.approx(0, abs=1e-4)


def test_one_point_for_everything_costs_invariance() -> None:
    terms = barlow_terms(torch.ones(16, 8), torch.ones(16, 8))
    assert terms["invariance"] == 8
    assert terms["redundancy"] == 0


def test_opposite_views_cost_most() -> None:
    x = torch.randn(64, 4, dtype=torch.float64)
    assert barlow_terms(x, -x)["invariance"] == pytest.approx(4 * 2**2, rel=1e-4)


def test_losses_are_weighted_and_scaled() -> None:
    views = torch.randint(0, 256, (2, 8, 4, 84, 84)).to(torch.uint8)
    plain = BarlowTwins(redundancy=1, scale=1, **SMALL).losses(*views)
    weighted = BarlowTwins(redundancy=0.5, scale=3, **SMALL).losses(*views)
    torch.testing.assert_close(weighted["invariance"], 3 * plain["invariance"])
    torch.testing.assert_close(weighted["redundancy"], 1.5 * plain["redundancy"])


def test_both_terms_reach_the_encoder() -> None:
    objective = BarlowTwins(**SMALL)
    views = torch.randint(0, 256, (2, 8, 4, 84, 84)).to(torch.uint8)
    for loss in objective.losses(*views).values():
        (gradient,) = torch.autograd.grad(loss, objective.encoder.vit.cls_token, retain_graph=True)
        assert gradient.abs().sum() > 0
