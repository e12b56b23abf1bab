"""Standardising within games, by hand."""

from __future__ import annotations

import torch

from fovea.pretrain.terms.centering import center_per_game


def test_each_game_has_mean_zero_and_deviation_one_of_its_own() -> None:
    x = torch.tensor([[1.0, 5.0], [100.0, 7.0], [3.0, 5.0], [700.0, 9.0]])
    expected = torch.tensor([[-1.0, 0.0], [-1.0, -1.0], [1.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(
        center_per_game(x, torch.tensor([0, 1, 0, 1])), expected, rtol=0, atol=1e-4
    )


def test_a_sample_alone_with_its_game_is_zero_and_has_finite_gradients() -> None:
    x = torch.tensor([[1.0], [3.0], [7.0]], requires_grad=True)
    centered = center_per_game(x, torch.tensor([0, 0, 1]))
    assert centered[2] == 0
    centered.pow(3).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_every_place_of_a_grid_is_standardised_alone() -> None:
    tokens, game = torch.randn(6, 3, 4), torch.tensor([0, 1, 0, 1, 0, 0])
    alone = torch.stack([center_per_game(tokens[:, place], game) for place in range(3)], 1)
    torch.testing.assert_close(center_per_game(tokens, game), alone)
