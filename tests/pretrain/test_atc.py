"""ATC: the anchor is now, the positive a teacher's of later."""

from __future__ import annotations

import torch

from pretrain.atc import ATC
from pretrain.draws import Draws
from pretrain.vit import Shape

SMALL = {"encoder": Shape(patch=42), "code": 8, "predictor": 8}


def test_the_views_are_now_and_later() -> None:
    objective = ATC(augment_first=[], augment_second=[], later=3, **SMALL)
    assert objective.offsets == (0, 3)
    windows = torch.randint(0, 256, (4, 2, 4, 84, 84)).to(torch.uint8)
    first, second = objective.views(windows, Draws(0, 0, 4, "cpu"))
    assert torch.equal(first, windows[:, 0])
    assert torch.equal(second, windows[:, 1])


def test_the_teacher_follows_and_no_gradient_reaches_it() -> None:
    objective = ATC(momentum=0.5, **SMALL)
    views = torch.randint(0, 256, (2, 8, 4, 84, 84)).to(torch.uint8)
    objective.losses(*views)["contrast"].backward()
    assert objective.encoder.vit.pos_embed.grad.abs().sum() > 0
    assert all(p.grad is None for p in objective.teacher.parameters())
    before = objective.teacher.vit.pos_embed.clone()
    with torch.no_grad():
        objective.encoder.vit.pos_embed += 1
    objective.stepped()
    torch.testing.assert_close(objective.teacher.vit.pos_embed, before + 0.5)
