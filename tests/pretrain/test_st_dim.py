"""ST-DIM: what is scored against what."""

from __future__ import annotations

import math

import pytest
import torch

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.st_dim import STDIM, place_scores
from fovea.pretrain.terms.info_nce import info_nce
from fovea.seeding import Draws, Stream


def windows(batch: int) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 2, 4, 84, 84)).to(torch.uint8)


def test_scores_by_hand() -> None:
    # Two samples, one place, four numbers: the products over 2.
    queries = torch.tensor([[[2.0, 0.0, 0.0, 0.0]], [[0.0, 2.0, 0.0, 0.0]]])
    scores = place_scores(queries, queries)
    assert scores.tolist() == [[[2, 0], [0, 2]]]
    assert info_nce(scores) == pytest.approx(math.log1p(math.exp(-2)))


def test_only_tokens_of_the_same_place_are_negatives() -> None:
    queries, tokens = torch.randn(2, 3, 5, 8)
    before = place_scores(queries, tokens)
    tokens[:, 4] += 1
    after = place_scores(queries, tokens)
    assert torch.equal(before[:4], after[:4])
    assert not torch.equal(before[4], after[4])


def test_views_are_the_neighbours_as_they_were_seen() -> None:
    objective = STDIM(later=2, encoder=Shape(patch=42))
    assert objective.offsets == (0, 2)
    seen, games = windows(4), torch.tensor([[0, 0], [1, 1], [2, 2], [0, 0]])
    now, later, game = objective.views(seen, Draws(Stream.VIEWS, 0, 0, 4, "cpu"), game=games)
    assert torch.equal(now, seen[:, 0])
    assert torch.equal(later, seen[:, 1])
    assert game.tolist() == [0, 1, 2, 0]


def test_each_term_trains_its_own_scores_and_both_the_encoder() -> None:
    objective = STDIM(encoder=Shape(patch=42))
    losses = objective.losses(*windows(8).unbind(1), torch.zeros(8, dtype=torch.int64))
    patches = objective.encoder.vit.patch_embed.proj.weight
    both = [objective.of_summary.weight, objective.of_token.weight, patches]
    for name, trained in {"global_local": 0, "local_local": 1}.items():
        gradients = torch.autograd.grad(losses[name], both, retain_graph=True, allow_unused=True)
        assert gradients[1 - trained] is None
        assert gradients[trained].abs().sum() > 0
        assert gradients[2].abs().sum() > 0


def test_the_game_alone_finds_nothing() -> None:
    """Screens that are the same within a game leave each at chance among the whole batch."""
    objective = STDIM(encoder=Shape(patch=42))
    game = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    level = (game * 100).to(torch.uint8)[:, None, None, None].expand(-1, 4, 84, 84)
    for loss in objective.losses(level, level, game).values():
        assert loss.detach() == pytest.approx(math.log(8), abs=1e-3)
