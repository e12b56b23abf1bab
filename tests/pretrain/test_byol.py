"""BYOL's loss by hand, and which view is predicted from which."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.byol import BYOL, byol_loss


def test_loss_by_hand() -> None:
    right, up = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.5]])
    assert byol_loss(right, up, up, right) == 0  # p1 against z2, p2 against z1
    assert byol_loss(right, up, right, up) == pytest.approx(4)  # two right angles
    assert byol_loss(right, up, -up, -right) == pytest.approx(8)  # the opposite, twice
    both = torch.cat([right, up])
    half = byol_loss(both, both, both, torch.cat([right, right]))
    assert half == pytest.approx(1)  # one right angle of two samples, in one of two directions


def test_each_view_predicts_the_teachers_projection_of_the_other() -> None:
    objective = BYOL(encoder=Shape(patch=42), projector=8, out=96)
    objective.projector = objective.teacher_projector = objective.predictor = nn.Identity()
    first, second = torch.randint(0, 256, (2, 4, 4, 84, 84)).to(torch.uint8)
    with torch.no_grad():
        x, y = (objective.encoder(view).summary for view in (first, second))
        loss = objective.losses(first, second)["prediction"]
    torch.testing.assert_close(loss, 2 * (2 - 2 * torch.cosine_similarity(x, y).mean()))
    assert loss > 0


def test_only_the_student_has_a_predictor() -> None:
    objective = BYOL(encoder=Shape(patch=42), projector=8, out=4)
    trained = {name.split(".")[0] for name, p in objective.named_parameters() if p.requires_grad}
    assert trained == {"encoder", "projector", "predictor"}
