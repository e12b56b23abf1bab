"""Inverse dynamics: the right action of the right game, and that it is learned where it shows."""

from __future__ import annotations

import math

import pytest
import torch
from ale_py import Action
from torch import Tensor

from fovea.atari.games import ACTIONS
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.barlow_twins import BarlowTwins
from fovea.pretrain.objectives.byol import BYOL
from fovea.pretrain.objectives.inverse_dynamics import InverseDynamics
from fovea.pretrain.objectives.simclr import SimCLR
from fovea.pretrain.objectives.tov_vicreg import TOVVICReg
from fovea.pretrain.objectives.two_views import TwoViews
from fovea.pretrain.objectives.vicreg import VICReg
from fovea.pretrain.terms.inverse_dynamics import InverseTask, logits_of_game
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
    assert views[2].tolist() == [[3], [1]]
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
    return now.to(torch.uint8), later.view_as(now).to(torch.uint8), action[:, None], game


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


def test_several_actions_by_hand() -> None:
    """One game of the two is right about its first action and knows nothing of its second."""
    task = InverseTask(dim=2, actions=2, width=4)
    for weight in task.parameters():
        torch.nn.init.zeros_(weight)
    head = task[-1].bias.data.view(2, -1, ACTIONS)  # by action and game
    head[0, 1, 5] = 100.0
    state, game = torch.randn(2, 4, 2), torch.tensor([0, 0, 1, 1])
    action = torch.tensor([[1, 0], [2, 3], [5, 0], [5, 7]])
    loss, accuracy = task(*state, action, game)
    # Of eight actions six are guessed among 18, of which the two that are 0 are right by luck.
    assert loss.item() == pytest.approx(6 / 8 * math.log(ACTIONS))
    assert accuracy == 4 / 8


SETTINGS = {"inverse_weight": 0.5, "encoder": Shape(patch=42, stack=2)}
ADDED = {
    VICReg: {"expander": 8}, TOVVICReg: {"expander": 8, "gaps": (2,), "width": 8},
    BYOL: {"projector": 8, "out": 4}, BarlowTwins: {"projector": 8},
    SimCLR: {"projector": 8, "out": 4},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", ADDED, ids=lambda kind: kind.__name__)
def test_it_is_added_to_an_objective_by_one_setting(kind: type[TwoViews]) -> None:
    objective, plain = kind(**SETTINGS, **ADDED[kind]), kind(**SETTINGS | {"inverse_weight": 0},
                                                             **ADDED[kind])  # fmt: skip
    at = torch.tensor([10, 20, 40, 50])
    draws = [Draws(stream, 0, 0, 4, "cpu") for stream in (Stream.PLACES, Stream.VIEWS) * 2]
    places = objective.places(at, None, draws[0])
    # Now and two steps later, whose stacks of two share no screen, and the step between.
    assert torch.equal(places[:, -3:] - at[:, None], torch.tensor([0, 1, 2]).expand(4, -1))
    screens = torch.randint(0, 256, (60, 2, 84, 84)).to(torch.uint8)
    action, game = torch.arange(60) % 6, torch.arange(60) // 30
    labels = {"action": action[places], "game": game[places]}
    views = objective.views(screens[places], draws[1], **labels)
    of, now, later, between = views[-4:]
    assert torch.equal(now, screens[at])
    assert torch.equal(later, screens[at + 2])
    assert between.tolist() == [[place % 6, (place + 1) % 6] for place in at.tolist()]
    assert of.tolist() == [0, 0, 1, 1]
    losses = objective.losses(*views)
    states = [objective.state(window) for window in objective.encode(now, later)]
    task, accuracy = objective.inverse_task(*states, between, of)
    torch.testing.assert_close(losses.pop("inverse"), 0.5 * task)
    assert objective.notes["action_accuracy"] == accuracy
    # All else is what it is without.
    places = plain.places(at, None, draws[2])
    theirs = plain.losses(*plain.views(screens[places], draws[3]))
    assert losses.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(losses[name], value)
    assert not plain.labels
