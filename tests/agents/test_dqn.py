"""DQN's loss by hand, its target network, and a game so small that the answer is known."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from agents.adapt import Frozen
from agents.agent import check_weights
from agents.dqn import DQN
from agents.replay import Transitions
from atari.command import UserError
from pretrain.encoder import Encoder


class Given(Encoder):
    """Stands for a frozen encoder whose features are made by the test."""

    grid, stack, screen = None, 4, (84, 84)

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim


def agent(states: int, actions: int, **settings) -> DQN:
    return DQN(encoder=Frozen(Given(states)), actions=actions, features="summary", **settings)


def linear(*rows: list[float]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows)
    return layer


@pytest.mark.parametrize(("double", "value"), [(True, 2.0), (False, 5.0)])
def test_the_online_network_picks_and_the_target_network_values(double: bool, value: float) -> None:
    dqn = agent(2, 2, double=double)
    dqn.head = linear([0.5, 1.0], [0.0, 3.0])  # of the next state: 1 and 3
    dqn.target = nn.Sequential(dqn.eyes, linear([9.0, 5.0], [9.0, 2.0]))  # of the next: 5 and 2
    here, following = torch.eye(2)[:1], torch.eye(2)[1:]
    for discount in (0.5, 0.0):
        batch = Transitions(here, torch.tensor([0]), torch.tensor([0.25]),
                            torch.tensor([discount]), following)  # fmt: skip
        error = abs(0.5 - (0.25 + discount * value))
        huber = 0.5 * error**2 if error <= 1 else error - 0.5
        assert dqn.losses(batch)["td"].item() == pytest.approx(huber)


def train(dqn: DQN, batch: Transitions, steps: int, folder: Path) -> None:
    trainer = Trainer(max_steps=steps, accelerator="cpu", devices=1, logger=False,
                      enable_checkpointing=False, enable_progress_bar=False,
                      enable_model_summary=False, default_root_dir=folder)  # fmt: skip
    trainer.fit(dqn, DataLoader([batch] * steps, batch_size=None))


def chain() -> tuple[Transitions, Tensor]:
    """Every transition of a corridor of three states, left or right, and its true values.

    The right end pays 1 and the episode is over; every other step costs 0.1.
    """
    gamma, values = 0.9, torch.zeros(3, 2)
    state, action = torch.cartesian_prod(torch.arange(3), torch.arange(2)).T
    over = (state == 2) & (action == 1)
    following = (state + 2 * action - 1).clamp(0, 2)
    reward, discount = torch.where(over, 1.0, -0.1), torch.where(over, 0.0, gamma)
    for _ in range(200):
        values = (reward + discount * values[following].amax(dim=1)).reshape(3, 2)
    return Transitions(
        torch.eye(3)[state], action, reward, discount, torch.eye(3)[following]
    ), values


def test_a_corridor_is_solved_exactly(tmp_path: Path) -> None:
    batch, values = chain()
    dqn = agent(3, 2, hidden=32, lr=0.01, target_every=20, anneal=True)
    train(dqn, batch, 700, tmp_path)
    torch.testing.assert_close(dqn.head(torch.eye(3)).detach(), values, rtol=0, atol=0.01)


def test_the_target_network_is_the_online_one_of_the_last_copy(tmp_path: Path) -> None:
    batch, _ = chain()
    three, five = (agent(3, 2, target_every=3, lr=0.01) for _ in range(2))
    start = copy.deepcopy(three.head.state_dict())
    train(three, batch, 3, tmp_path)
    train(five, batch, 5, tmp_path)
    for key, value in three.head.state_dict().items():
        assert torch.equal(five.target[1].state_dict()[key], value)
        assert torch.equal(three.target[1].state_dict()[key], start[key])
        assert not torch.equal(five.head.state_dict()[key], value)


def test_epsilon_falls_from_1_after_the_warm_up() -> None:
    dqn = agent(2, 2, warmup=100, epsilon_steps=100, epsilon_final=0.1)
    epsilons = {}
    for dqn.played in (0, 100, 150, 200, 1000):
        epsilons[dqn.played] = dqn.epsilon()
    assert epsilons == pytest.approx({0: 1, 100: 1, 150: 0.55, 200: 0.1, 1000: 0.1})


def test_acting_draws_for_each_environment_by_itself() -> None:
    dqn = agent(2, 4, warmup=0, epsilon_steps=1, epsilon_final=0.5, epsilon_evaluation=0.0)
    dqn.played = 1
    seen = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    best = dqn.head(seen).argmax(dim=1)
    explored = dqn.act(seen, True, torch.Generator().manual_seed(0))
    assert 0.57 < (explored == best).float().mean() < 0.68  # 0.5 + 0.5 / 4
    assert torch.equal(dqn.act(seen, False, torch.Generator()), best)


def test_weights_of_another_agent_are_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"of another agent: weight head\.0\.bias is \(512,\) in"):
        check_weights(agent(2, 2, hidden=8), agent(2, 2).state_dict())
