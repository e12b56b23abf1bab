"""Barlow Twins: the terms by hand, and what each of them notices."""

from __future__ import annotations

import pytest
import torch

from pretrain.barlow_twins import BarlowTwins, barlow_terms
from pretrain.vit import Shape


def test_terms_by_hand() -> None:
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    terms = barlow_terms(5 * x + 3, x)  # neither scale nor mean is seen
    assert terms["invariance"] == pytest.approx(0, abs=1e-8)
    assert terms["redundancy"] == pytest.approx(0, abs=1e-8)
    # Both features of y are the first of x: correlations 1 1 in the first row, 0 0 in the second.
    terms = barlow_terms(x, x[:, [0, 0]])
    assert terms["invariance"] == pytest.approx(1, abs=1e-4)
    assert terms["redundancy"] == pytest.approx(1, abs=1e-4)


def test_opposite_views_cost_most() -> None:
    x = torch.randn(64, 4, dtype=torch.float64)
    assert barlow_terms(x, -x)["invariance"] == pytest.approx(4 * 4, rel=1e-4)


def test_losses_are_weighted_and_named_apart() -> None:
    objective = BarlowTwins(projector=8, redundancy=0.5, scale=0.1, encoder=Shape(patch=42))
    views = torch.randint(0, 256, (2, 8, 4, 84, 84)).to(torch.uint8)
    losses = objective.losses(*views)
    seen = (objective.projector(view.summary) for view in objective.encode(*views))
    terms = barlow_terms(*seen)
    torch.testing.assert_close(losses["invariance"], 0.1 * terms["invariance"])
    torch.testing.assert_close(losses["redundancy"], 0.05 * terms["redundancy"])
