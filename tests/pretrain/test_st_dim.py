"""ST-DIM: tokens are compared with those of their own place, and the next screens are wanted."""

from __future__ import annotations

import torch

from pretrain.draws import Draws
from pretrain.st_dim import STDIM, place_scores
from pretrain.vit import Shape


def test_scores_compare_tokens_of_one_place() -> None:
    queries, tokens = torch.randn(2, 3, 5, 4)  # three samples, five places
    scores = place_scores(queries, tokens)
    assert scores.shape == (5, 3, 3)
    torch.testing.assert_close(scores[4, 0, 2], queries[0, 4] @ tokens[2, 4] / 4**0.5)


def test_the_screens_are_seen_as_they_were() -> None:
    objective = STDIM(later=2, encoder=Shape(patch=42))
    assert objective.offsets == (0, 2)
    windows = torch.randint(0, 256, (4, 2, 4, 84, 84)).to(torch.uint8)
    now, later = objective.views(windows, Draws(0, 0, 4, "cpu"))
    assert torch.equal(now, windows[:, 0])
    assert torch.equal(later, windows[:, 1])


def test_both_terms_reach_the_tokens_and_each_its_own_map() -> None:
    objective = STDIM(encoder=Shape(patch=42))
    windows = torch.randint(0, 256, (2, 4, 4, 84, 84)).to(torch.uint8)
    losses = objective.losses(*windows)
    assert set(losses) == {"global_local", "local_local"}
    losses["local_local"].backward()
    assert objective.of_token.weight.grad.abs().sum() > 0
    assert objective.of_summary.weight.grad is None
