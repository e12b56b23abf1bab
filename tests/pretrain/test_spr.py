"""SPR: what is predicted depends on the actions, and is compared with what a teacher saw."""

from __future__ import annotations

import pytest
import torch

from pretrain.draws import Draws
from pretrain.spr import SPR, spr_loss
from pretrain.vit import Shape

SMALL = {"encoder": Shape(patch=42), "embedding": 4, "projector": 8, "out": 4, "steps": 2}


def views(objective: SPR, batch: int = 8) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    windows = torch.randint(0, 256, (batch, 3, 4, 84, 84), generator=generator).to(torch.uint8)
    action, game = torch.arange(3 * batch).view(batch, 3) % 3, torch.ones(batch, 3, dtype=int)
    return objective.views(windows, Draws(0, 0, batch, "cpu"), action=action, game=game)


def test_loss_by_hand() -> None:
    said = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])
    assert spr_loss(said, 3 * said) == pytest.approx(0, abs=1e-6)
    assert spr_loss(said, -said) == pytest.approx(4)  # two steps, 2 each
    assert spr_loss(said, said.flip(0)) == pytest.approx(2)


def test_actions_are_those_that_lead_to_the_next_window_and_a_games_own() -> None:
    objective = SPR(augment=[], **SMALL)
    assert objective.offsets == (0, 1, 2)
    action, *windows = views(objective)
    assert len(windows) == 3
    assert action[0].tolist() == [18 + 0, 18 + 1]  # of the game of index 1, without the last


def test_other_actions_lead_elsewhere() -> None:
    objective = SPR(augment=[], **SMALL)
    action, *windows = views(objective)
    one = objective.losses(action, *windows)["prediction"]
    other = objective.losses(action.flip(1), *windows)["prediction"]
    assert one != other


def test_the_teacher_gets_no_gradient_and_the_actions_do() -> None:
    objective = SPR(**SMALL)
    objective.losses(*views(objective))["prediction"].backward()
    assert all(p.grad is None for p in objective.teacher.parameters())
    assert objective.actions.weight.grad.abs().sum() > 0
    assert objective.encoder.vit.pos_embed.grad.abs().sum() > 0
