"""DQN's loss by hand, its target network, and a game so small that the answer is known."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fovea.agents.adaptation.base import Frozen
from fovea.agents.algorithms.base import check_weights
from fovea.agents.algorithms.dqn import DQN
from fovea.agents.algorithms.q_learning import shifted
from fovea.agents.experience.replay import Transitions
from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Encoder, Features
from fovea.pretrain.encoders.read_out import ReadOut


class Given(Encoder):
    """Stands for a frozen encoder whose features are made by the test."""

    grid, stack, screen = None, 4, (84, 84)

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, screens: torch.Tensor, blocks: tuple[int, ...] = ()) -> Features:
        summary = torch.zeros(len(screens), self.dim)
        return Features(summary, summary[:, None])


def agent(states: int, actions: int, **settings) -> DQN:
    return DQN(encoder=Frozen(Given(states)), actions=actions, features=ReadOut("cls"), **settings)


def linear(*rows: list[float]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows)
    return layer


@pytest.mark.parametrize(("double_q", "value"), [(True, 2.0), (False, 5.0)])
def test_the_online_network_chooses_and_the_target_network_values(
    double_q: bool, value: float
) -> None:
    dqn = agent(2, 2, double_q=double_q)
    dqn.head = linear([0.5, 1.0], [0.0, 3.0])  # of the next state: 1 and 3
    dqn.target = nn.Sequential(
        dqn.extractor, linear([9.0, 5.0], [9.0, 2.0])
    )  # of the next: 5 and 2
    obs, next_obs = torch.eye(2)[:1], torch.eye(2)[1:]
    for discount in (0.5, 0.0):
        batch = Transitions(obs, torch.tensor([0]), torch.tensor([0.25]),
                            torch.tensor([discount]), next_obs)  # fmt: skip
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
    next_state = (state + 2 * action - 1).clamp(0, 2)
    reward, discount = torch.where(over, 1.0, -0.1), torch.where(over, 0.0, gamma)
    for _ in range(200):
        values = (reward + discount * values[next_state].amax(dim=1)).reshape(3, 2)
    return Transitions(
        torch.eye(3)[state], action, reward, discount, torch.eye(3)[next_state]
    ), values


VARIANTS = {
    "plain": {},
    "dueling": {"dueling": True},
    "moving target": {"target_update_interval": 1, "tau": 0.1},
    "noisy": {"noisy": 0.5},
    "c51": {"value_head": "c51", "value_range": (-2.0, 2.0), "bins": 41},
    "hl_gauss": {"value_head": "hl_gauss", "value_range": (-2.0, 2.0), "bins": 41},
    "reset": {"reset_interval": 200, "target_update_interval": 1, "tau": 0.1},
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_corridor_is_solved_exactly(variant: str, tmp_path: Path) -> None:
    batch, values = chain()
    settings = {"hidden": 32, "lr": 0.01, "target_update_interval": 20, "anneal_lr": True}
    dqn = agent(3, 2, **settings | VARIANTS[variant])
    train(dqn, batch, 700, tmp_path)
    found = dqn.value_head.value(dqn.outputs(torch.eye(3))).detach()
    # What noise the head has unlearnt it has not unlearnt to the last bit.
    torch.testing.assert_close(found, values, rtol=0, atol=0.05 if variant == "noisy" else 0.01)


@pytest.mark.slow
def test_the_identity_is_learnt_exactly(tmp_path: Path) -> None:
    """Four states in turn, and the action of the state's own number pays 1: worth 2 at 0.5."""
    state, action = torch.cartesian_prod(torch.arange(4), torch.arange(4)).T
    next_state = (state + 1) % 4
    batch = Transitions(torch.eye(4)[state], action, (state == action).float(),
                        torch.full((16,), 0.5), torch.eye(4)[next_state])  # fmt: skip
    dqn = agent(4, 4, hidden=32, lr=0.01, target_update_interval=20, anneal_lr=True)
    train(dqn, batch, 500, tmp_path)
    found = dqn.head(torch.eye(4)).detach()
    torch.testing.assert_close(found, 1 + torch.eye(4), rtol=0, atol=0.01)


def test_td_errors_are_kept_and_a_weight_scales_a_loss() -> None:
    batch, _ = chain()
    dqn = agent(3, 2)
    whole = dqn.losses(batch)["td"]
    values, next_values = (dqn.head(x).detach() for x in (batch.obs, batch.next_obs))
    taken = values.gather(1, batch.action[:, None])[:, 0]
    target = batch.reward + batch.discount * next_values.amax(dim=1)  # the two networks are alike
    torch.testing.assert_close(dqn.td_errors, (target - taken).abs())
    one = torch.eye(6)[2]
    only = dqn.losses(batch._replace(weight=one))["td"]
    torch.testing.assert_close(only, nn.functional.huber_loss(taken[2], target[2]) / 6)
    torch.testing.assert_close(whole, nn.functional.huber_loss(taken, target))


def test_replayed_screens_move_each_by_itself_and_the_same_in_every_run() -> None:
    rows = torch.arange(84, dtype=torch.uint8)[:, None].expand(84, 84)
    screens = rows.expand(16, 4, 84, 84).contiguous()
    one = torch.ones(16)
    batch = Transitions(screens, one, one, one, screens)
    moved = shifted(batch, 3, seed=0, step=5)
    again = shifted(batch, 3, seed=0, step=5)
    for ours, theirs in zip(moved, again, strict=True):
        assert torch.equal(ours, theirs)
    for stacks in (moved.obs, moved.next_obs):
        down = stacks[:, :, 42, 42].int() - 42
        assert (down == down[:, :1]).all()  # a stack moves as one
        assert down.abs().max() == 3
        assert len(down[:, 0].unique()) > 3
    assert not torch.equal(moved.obs, moved.next_obs)
    with pytest.raises(UserError, match="shift 3 moves stored screens, and of a frozen"):
        agent(2, 2, shift=3)


def test_the_target_network_is_the_online_one_of_the_last_copy(tmp_path: Path) -> None:
    batch, _ = chain()
    three, five = (agent(3, 2, target_update_interval=3, lr=0.01) for _ in range(2))
    start = copy.deepcopy(three.head.state_dict())
    train(three, batch, 3, tmp_path)
    train(five, batch, 5, tmp_path)
    for key, value in three.head.state_dict().items():
        assert torch.equal(five.target[1].state_dict()[key], value)
        assert torch.equal(three.target[1].state_dict()[key], start[key])
        assert not torch.equal(five.head.state_dict()[key], value)


def test_epsilon_falls_from_1_once_learning_starts() -> None:
    dqn = agent(2, 2, learning_starts=100, epsilon_steps=100, epsilon_final=0.1)
    epsilons = {step: dqn.epsilon(step).item() for step in (0, 100, 150, 200, 1000)}
    assert epsilons == pytest.approx({0: 1, 100: 1, 150: 0.55, 200: 0.1, 1000: 0.1})


def test_epsilon_may_begin_low_and_differ_between_environments() -> None:
    dqn = agent(2, 2, learning_starts=100, epsilon_steps=100, epsilon_initial=0.2,
                epsilon_final=0.4, epsilon_spread=7)  # fmt: skip
    torch.testing.assert_close(dqn.epsilon(100, 3), torch.full((3,), 0.2))
    torch.testing.assert_close(dqn.epsilon(200, 3), 0.4 ** torch.tensor([1, 4.5, 8]))


def test_noise_explores_and_an_evaluation_has_none() -> None:
    dqn = agent(2, 4, learning_starts=0, epsilon_steps=1, epsilon_final=0.0, epsilon_evaluation=0.0,
                noisy=5.0)  # fmt: skip
    seen = torch.ones(500, 2)
    best = dqn.head(seen).argmax(dim=1)
    assert len(best.unique()) == 1
    explored = dqn.act(seen, torch.Generator().manual_seed(0), step=1)
    assert len(explored.unique()) == 4
    assert torch.equal(explored, dqn.act(seen, torch.Generator().manual_seed(0), step=1))
    assert torch.equal(dqn.act(seen, torch.Generator()), best)


def test_acting_draws_for_each_environment_by_itself() -> None:
    dqn = agent(2, 4, learning_starts=0, epsilon_steps=1, epsilon_final=0.5, epsilon_evaluation=0.0)
    seen = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    best = dqn.head(seen).argmax(dim=1)
    explored = dqn.act(seen, torch.Generator().manual_seed(0), step=1)
    assert 0.57 < (explored == best).float().mean() < 0.68  # 0.5 + 0.5 / 4
    assert torch.equal(dqn.act(seen, torch.Generator()), best)


def test_weights_of_another_agent_are_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"of another agent: weight head\.0\.bias is \(512,\) in"):
        check_weights(agent(2, 2, hidden=8), agent(2, 2).state_dict())
