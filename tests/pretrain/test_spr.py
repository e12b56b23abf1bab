"""SPR: which actions lead where, what is predicted, and the teacher."""

from __future__ import annotations

import pytest
import torch

from fovea.atari.games import ACTIONS
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.spr import SPR, spr_loss
from fovea.seeding import Draws, Stream

SMALL = {"encoder": Shape(patch=42), "steps": 2, "projector": 8, "out": 4}


@pytest.fixture
def views() -> tuple[torch.Tensor, ...]:
    """Of six samples of two games: actions, games and three windows."""
    windows = torch.randint(0, 256, (6, 3, 4, 84, 84)).to(torch.uint8)
    action, game = torch.arange(18).view(6, 3), torch.tensor([0, 0, 0, 1, 1, 1])
    return SPR(**SMALL).views(
        windows, Draws(Stream.VIEWS, 0, 0, 6, "cpu"), action, game[:, None].expand(-1, 3)
    )


def test_loss_by_hand() -> None:
    prediction = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
    target = torch.tensor([[[5.0, 0.0], [1.0, 0.0]], [[-1.0, 0.0], [1.0, 0.0]]])
    # 1 - cosine is 0 and 1 at the first step, 2 and 0 at the second.
    assert spr_loss(prediction, target) == pytest.approx((0 + 2) / 2 + (1 + 0) / 2)


def test_the_action_at_the_last_window_leads_beyond_what_is_seen(views) -> None:
    action, game, *windows = views
    assert action.tolist() == [[3 * i, 3 * i + 1] for i in range(6)]
    assert game.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(windows) == 3


def test_a_state_depends_on_the_actions_before_it_alone() -> None:
    objective = SPR(**SMALL)
    state, action = torch.randn(1, 2 * 96).expand(2, -1), torch.tensor([[3, 4], [3, 5]])
    first, second = objective.rollout(state, action)
    assert torch.equal(first[0], first[1])
    assert not torch.allclose(second[0], second[1])


def test_the_same_index_in_two_games_is_two_actions(views) -> None:
    objective = SPR(**SMALL)
    action, game, *windows = views
    objective.losses(torch.full_like(action, 2), game, *windows)["prediction"].backward()
    used = objective.actions.weight.grad.abs().sum(1).nonzero().flatten()
    assert used.tolist() == [2, ACTIONS + 2]


def test_the_teacher_is_a_copy_that_follows_and_that_nothing_trains(views) -> None:
    objective = SPR(momentum=0.75, **SMALL)
    objective.losses(*views)["prediction"].backward()
    assert objective.encoder.vit.patch_embed.proj.weight.grad.abs().sum() > 0
    pairs = {objective.teacher: objective.encoder, objective.teacher_projector: objective.projector}
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
