"""SimCLR: each view finds the other of its sample, and never itself."""

from __future__ import annotations

import math

import pytest
import torch

from pretrain.contrast import found, info_nce
from pretrain.simclr import SimCLR, view_scores
from pretrain.vit import Shape


def test_scores_stand_with_the_other_view_on_the_diagonal() -> None:
    x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    scores = view_scores(x, y)
    half = math.sqrt(0.5)
    # Rows: those that look for x0 (y0), for x1 (y1), for y0 (x0), for y1 (x1).
    wanted = [[1, 0, -math.inf, half], [half, half, half, -math.inf],
              [-math.inf, 0, 1, half], [0, -math.inf, 0, half]]  # fmt: skip
    torch.testing.assert_close(scores, torch.tensor(wanted))


def test_loss_by_hand() -> None:
    """Two samples whose views agree and which are at right angles: one right of three."""
    views = torch.eye(2, dtype=torch.float64)
    loss = info_nce(view_scores(views, views) / 0.5)
    assert loss == pytest.approx(math.log(1 + 2 * math.exp(-2)))


def test_what_it_notes_and_what_learns() -> None:
    objective = SimCLR(projector=8, out=4, encoder=Shape(patch=42))
    views = torch.randint(0, 256, (2, 8, 4, 84, 84)).to(torch.uint8)
    objective.losses(*views)["contrast"].backward()
    assert objective.encoder.vit.patch_embed.proj.weight.grad.abs().sum() > 0
    assert 0 <= objective.notes["found"] <= 1
    assert found(torch.eye(3)) == 1
