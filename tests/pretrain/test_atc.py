"""ATC: who is contrasted with whom, and the teacher."""

from __future__ import annotations

import pytest
import torch

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.atc import ATC
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.cls_and_mean import cls_and_mean
from fovea.pretrain.terms.info_nce import info_nce, products
from fovea.seeding import Draws, Stream

SMALL = {"encoder": Shape(patch=42), "code": 8, "predictor": 4}
GAME = torch.zeros(8, dtype=torch.int64)


@pytest.fixture
def screens() -> torch.Tensor:
    return torch.randint(0, 256, (2, 8, 4, 84, 84)).to(torch.uint8)


def test_views_are_now_and_later(screens: torch.Tensor) -> None:
    objective = ATC(augment_first=[], augment_second=[], later=3, **SMALL)
    assert objective.offsets == (0, 3)
    windows = screens.transpose(0, 1)
    now, later, game = objective.views(
        windows, Draws(Stream.VIEWS, 0, 0, 8, "cpu"), game=GAME[:, None]
    )
    assert torch.equal(now, screens[0])
    assert torch.equal(later, screens[1])
    assert torch.equal(game, GAME)


def test_without_its_predictor_an_anchor_is_its_own_code(screens: torch.Tensor) -> None:
    objective = ATC(**SMALL)
    with torch.no_grad():
        objective.predictor[-1].weight.zero_()
        objective.predictor[-1].bias.zero_()
        objective.bilinear.weight.copy_(torch.eye(8))
        codes = [
            objective.compressor(center_per_game(cls_and_mean(objective.encoder(view)), GAME))
            for view in screens
        ]
    loss = objective.losses(*screens, GAME)["contrast"]
    torch.testing.assert_close(loss, info_nce(products(*codes)))


def test_the_teacher_is_a_copy_that_follows_and_that_nothing_trains(screens: torch.Tensor) -> None:
    objective = ATC(momentum=0.75, **SMALL)
    objective.losses(*screens, GAME)["contrast"].backward()
    pairs = {
        objective.teacher: objective.encoder,
        objective.teacher_compressor: objective.compressor,
    }
    for teacher, student in pairs.items():
        for copy, weight in zip(teacher.parameters(), student.parameters(), strict=True):
            assert copy is not weight
            assert torch.equal(copy, weight)
            assert copy.grad is None
            weight.data.add_(1)
    objective.after_optimizer_step()
    for teacher, student in pairs.items():
        for copy, weight in zip(teacher.parameters(), student.parameters(), strict=True):
            torch.testing.assert_close(weight - copy, torch.full_like(copy, 0.75))
