"""SimCLR's NT-Xent by hand and against its definition in loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.simclr import SimCLR, view_scores
from fovea.pretrain.terms.info_nce import info_nce


def test_own_columns_stand_on_the_diagonal_and_no_view_meets_itself() -> None:
    x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    half = math.sqrt(0.5)
    # Rows are y0, y1, x0, x1, whose others are the columns x0, x1, y0, y1.
    wanted = [[1, 0, -math.inf, half], [half, half, half, -math.inf],
              [-math.inf, 0, 1, half], [0, -math.inf, 0, half]]  # fmt: skip
    torch.testing.assert_close(view_scores(x, y), torch.tensor(wanted))


def test_equal_views_of_orthogonal_samples_by_hand() -> None:
    # Each view has its other at cosine 1 and two views of another sample at cosine 0.
    loss = info_nce(view_scores(torch.eye(2), torch.eye(2)) / 0.5)
    assert loss == pytest.approx(math.log(1 + 2 * math.exp(-2)))


def test_the_definition_in_loops() -> None:
    x, y = torch.randn(2, 5, 3, dtype=torch.float64)
    views, total = torch.cat([x, y]), 0.0
    for i in range(10):
        others = {
            j: float((cosine_similarity(views[i], views[j], dim=0) / 0.2).exp())
            for j in range(10)
            if j != i
        }
        total -= math.log(others[(i + 5) % 10] / sum(others.values()))
    assert info_nce(view_scores(x, y) / 0.2) == pytest.approx(total / 10)


def test_the_temperature_is_that_of_the_loss() -> None:
    views = torch.randint(0, 256, (2, 8, 4, 84, 84)).to(torch.uint8)
    settings = {"encoder": Shape(patch=42), "projector": 8, "out": 4}
    # At an endless temperature all 15 others are alike.
    hot = SimCLR(temperature=1e6, **settings).losses(*views)["contrast"]
    assert hot.detach() == pytest.approx(math.log(15), abs=1e-4)
    objective = SimCLR(temperature=0.1, **settings)
    same = objective.losses(views[0], views[0])["contrast"]
    assert same.detach() < math.log(15)
    assert objective.notes["top1"] == 1
    same.backward()
    assert objective.encoder.vit.patch_embed.proj.weight.grad.abs().sum() > 0
