"""Inverse dynamics: the right action of the right game, and that it is learned where it shows."""

from __future__ import annotations

import math

import pytest
import torch
from ale_py import Action
from torch import Tensor

from fovea.atari.games import ACTIONS
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.inverse_dynamics import InverseDynamics, logits_of_game
from fovea.seeding import Draws, Stream

SMALL = {"encoder": Shape(patch=42), "width": 16}


def test_the_action_is_that_between_the_windows() -> None:
    windows = torch.randint(0, 256, (2, 2, 4, 84, 84)).to(torch.uint8)
    action, game = torch.tensor([[3, 5], [1, 4]]), torch.tensor([[1, 1], [0, 0]])
    views = InverseDynamics(**SMALL).views(
        windows, Draws(Stream.VIEWS, 0, 0, 2, "cpu"), action, game
    )
    assert torch.equal(views[0], windows[:, 0])
    assert torch.equal(views[1], windows[:, 1])
    assert views[2].tolist() == [3, 1]
    assert views[3].tolist() == [1, 0]


def test_no_game_has_more_actions_than_there_is_room_for() -> None:
    assert len(Action.__members__) == ACTIONS


def test_logits_are_those_of_the_game() -> None:
    logits = torch.arange(3 * ACTIONS).expand(2, -1)
    mine = logits_of_game(logits, torch.tensor([2, 0]))
    assert mine.tolist() == [list(range(2 * ACTIONS, 3 * ACTIONS)), list(range(ACTIONS))]


def test_a_head_that_knows_nothing_is_at_chance() -> None:
    objective = InverseDynamics(**SMALL)
    torch.nn.init.zeros_(objective.head[-1].weight)
    torch.nn.init.zeros_(objective.head[-1].bias)
    now, later, action, game = shown(8)
    loss = objective.losses(now, later, action, game)["action"].detach()
    assert loss == pytest.approx(math.log(ACTIONS))
    assert objective.notes["action_accuracy"] == (action == 0).float().mean()


def shown(batch: int) -> tuple[Tensor, ...]:
    """Screens of two games, where the action brightens a quarter that is another in each game."""
    now = torch.randint(0, 100, (batch, 4, 84, 84))
    action, game = torch.arange(batch) % 4, torch.arange(batch) // 4 % 2
    quarter = (action + game) % 4
    later = now.unflatten(2, (2, 42)).unflatten(4, (2, 42)).clone()
    later[torch.arange(batch), :, quarter // 2, :, quarter % 2] += 100
    return now.to(torch.uint8), later.view_as(now).to(torch.uint8), action, game


@pytest.mark.slow
def test_it_learns_actions_that_show() -> None:
    torch.manual_seed(0)
    objective = InverseDynamics(encoder=Shape(patch=42), width=128)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    for _ in range(30):
        loss = objective.losses(*shown(32))["action"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    objective.losses(*shown(32))
    assert objective.notes["action_accuracy"] > 0.6  # chance is 0.25
