"""SPR: which actions lead where, what is predicted, and the teacher."""

from __future__ import annotations

import pytest
import torch

from fovea.atari.games import ACTIONS
from fovea.command import UserError
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.spr import SPR, spr_loss
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.dense import DensePredictor
from fovea.seeding import Draws, Stream

SMALL = {"encoder": Shape(patch=42), "steps": (1, 2), "projector": 8, "out": 4}


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


def test_only_the_steps_asked_for_are_predicted_and_every_action_counts() -> None:
    objective = SPR(**SMALL | {"steps": (2, 3)})
    assert objective.offsets == (0, 1, 2, 3)
    windows = torch.randint(0, 256, (6, 4, 4, 84, 84)).to(torch.uint8)
    action, game = torch.arange(24).view(6, 4) % 6, torch.tensor([0, 0, 0, 1, 1, 1])
    draws = Draws(Stream.VIEWS, 0, 0, 6, "cpu")
    actions, game, *shown = objective.views(windows, draws, action, game[:, None])
    assert torch.equal(actions, action[:, :3])
    assert [torch.equal(one, windows[:, at]) for one, at in zip(shown, (0, 2, 3), strict=True)] == [
        True
    ] * 3
    loss = objective.losses(actions, game, *shown)["prediction"]
    (now,), later = objective.encode(shown[0]), objective.encode(*shown[1:], by=objective.teacher)
    state, *future = (center_per_game(objective.state(one), game) for one in (now, *later))
    states = objective.rollout(state, game[:, None] * ACTIONS + actions)[1:]
    predicted = objective.predictor(objective.projector(states.flatten(0, 1))).unflatten(0, (2, 6))
    target = objective.teacher_projector(torch.cat(future)).unflatten(0, (2, 6))
    torch.testing.assert_close(loss, spr_loss(predicted, target))


@pytest.mark.parametrize("steps", [(), (0, 4), (8, 4), (4, 4)])
def test_steps_that_do_not_ascend_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="no ascending agent steps"):
        SPR(**SMALL | {"steps": steps})


@torch.no_grad()
def test_a_token_is_predicted_at_its_place_by_hand() -> None:
    predictor = DensePredictor(dim=2, state=1, width=2)
    for layer in (predictor.of_token, predictor.out):
        layer.weight.copy_(torch.eye(2))
        layer.bias.zero_()
    predictor.of_state.weight.copy_(torch.tensor([[0.0], [100.0]]))
    tokens, state = torch.tensor([[[100.0, -300], [200, 0]]]), torch.tensor([[1.0]])
    # GELU of what is far from 0 is the larger of it and 0.
    assert predictor(tokens, state).tolist() == [[[100, 0], [200, 100]]]


def test_dense_prediction_compares_tokens_of_a_place(views) -> None:
    objective, plain = SPR(dense=2.0, **SMALL), SPR(**SMALL)
    losses, game = objective.losses(*views), views[1]
    torch.testing.assert_close(losses["prediction"], plain.losses(*views)["prediction"])
    (now,), later = objective.encode(views[2]), objective.encode(*views[3:], by=objective.teacher)
    states = objective.rollout(
        center_per_game(objective.state(now), game), game[:, None] * ACTIONS + views[0]
    )
    tokens = center_per_game(now.tokens, game)
    distances = [
        1 - torch.cosine_similarity(
            objective.dense_predictor(tokens, state)[:, place],
            center_per_game(window.tokens, game)[:, place],
        ).mean()
        for state, window in zip(states, later, strict=True)
        for place in range(4)
    ]  # fmt: skip
    torch.testing.assert_close(losses["dense"], 2.0 * sum(distances) / 4)
    losses["dense"].backward()
    assert objective.teacher.vit.patch_embed.proj.weight.grad is None
    assert objective.encoder.vit.patch_embed.proj.weight.grad.abs().sum() > 0


def test_the_teachers_momentum_can_rise() -> None:
    objective = SPR(momentum=0.5, last_momentum=1.0, **SMALL)
    assert [objective.momentum_at(over) for over in (0, 0.5, 1)] == pytest.approx([0.5, 0.75, 1])
    assert SPR(**SMALL).momentum_at(0.3) == 0.99
