"""High replay ratios: resets of heads, what starts over with them, and who acts."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning import Trainer

from fovea.agents import DQN, AtariTask, FineTuned, Frozen, train
from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms.resets import last_reset
from fovea.pretrain.encoders.encoder import Encoder, Features
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.seeding import Stream, key

# Eight updates, in which weights that are not reset stay what they are: the learning rate is 0.
STILL = {"learning_starts": 18, "train_freq": 2, "buffer_size": 40, "batch_size": 4, "hidden": 8,
         "features": ReadOut("projected_tokens", norm="standard", norm_samples=8),
         "value_head": "c51", "noisy": 0.5, "dueling": True, "target_update_interval": 1,
         "lr": 0.0}  # fmt: skip


def pong(updates: int) -> AtariTask:
    """Pong for as long as so many updates of STILL take."""
    return AtariTask("pong", 2, total_steps=18 + 2 * updates, noop_max=0)


def played(agent: DQN, updates: int) -> Trainer:
    used = train(agent, pong(updates), accelerator="cpu")
    assert used.global_step == updates
    return used


def test_resets_leave_an_interval_to_learn_in() -> None:
    assert [last_reset(update, 40, 200) for update in (0, 39, 40, 79, 80, 160, 199)] == [
        0, 0, 40, 40, 80, 160, 160]  # fmt: skip
    assert [last_reset(update, 40, 199) for update in (120, 159, 160, 198)] == [120] * 4
    assert last_reset(30, 40, 41) == last_reset(40, 40, 41) == last_reset(5, 0, 9) == 0


@given(st.integers(1, 50), st.integers(1, 500), st.data())
def test_a_reset_is_at_a_multiple_of_the_interval_and_holds_until_the_next(
    interval: int, updates: int, data: st.DataObject
) -> None:
    update = data.draw(st.integers(0, updates - 1))
    last = last_reset(update, interval, updates)
    assert last % interval == 0
    assert last <= update
    assert not last or last + interval <= updates
    assert last_reset(last, interval, updates) == last
    if update - last >= interval:  # the next one was left out
        assert last + 2 * interval > updates


def dqn(encoder: Adapted, **settings: object) -> DQN:
    return DQN(encoder, **{"actions": 6} | settings)


def test_n_step_and_gamma_go_by_equal_factors_and_start_over_with_a_reset(encoder: Path) -> None:
    agent = dqn(Frozen(str(encoder)), n_step=10, n_step_final=3, gamma=0.97, gamma_final=0.997,
                anneal_updates=100, reset_interval=200)  # fmt: skip
    # Half-way the steps are the root of 10 * 3 = 30, and 1 - gamma that of 0.03 * 0.003.
    expected = {0: (10, 0.97), 50: (5, 1 - 0.0094868330), 100: (3, 0.997), 199: (3, 0.997),
                200: (10, 0.97), 250: (5, 1 - 0.0094868330), 999: (3, 0.997)}  # fmt: skip
    for update, (n_step, gamma) in expected.items():
        assert agent.horizon(update, 1000) == (n_step, pytest.approx(gamma, abs=1e-9))
    assert [agent.horizon(update, 1000)[0] for update in (7, 25, 75, 95)] == [9, 7, 4, 3]
    constant = dqn(Frozen(str(encoder)), n_step=4, gamma=0.99, reset_interval=200)
    assert constant.horizon(150, 1000) == (4, 0.99)


@pytest.mark.slow
@pytest.mark.parametrize("per_alpha", [0.0, 0.5])
def test_batches_have_the_n_step_and_gamma_of_their_update(per_alpha: float, encoder: Path) -> None:
    annealed = {"n_step": 4, "n_step_final": 1, "gamma": 0.5, "gamma_final": 0.875}
    settings = STILL | annealed | {"anneal_updates": 2, "reset_interval": 3, "per_alpha": per_alpha}
    experience = dqn(Frozen(str(encoder)), **settings).make_experience(pong(updates=8))
    # A reset at 3, and none at 6, of which two updates are left.
    expected = [(4, 0.5), (2, 0.75), (1, 0.875), (4, 0.5), (2, 0.75), *[(1, 0.875)] * 3]
    for update, (n_step, gamma) in enumerate(expected):
        batch = experience.batch(update)
        assert batch.discount.tolist() == pytest.approx([gamma**n_step] * 4)  # no episode ends


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0.0, 0.25])
@pytest.mark.parametrize("adapted", [Frozen, FineTuned])
def test_a_reset_changes_all_but_the_encoder_in_both_networks(
    adapted: type, keep: float, encoder: Path
) -> None:
    agent = dqn(adapted(str(encoder)), seed=3, reset_interval=3, reset_shrink=keep,
                **STILL)  # fmt: skip
    with torch.no_grad():
        for name, weights in agent.named_parameters():
            if ".encoder." not in name:
                weights.add_(1.0)  # as if they had learnt: the noise of fresh heads is always alike
    before = copy.deepcopy(agent.state_dict())
    fresh = dqn(adapted(str(encoder)), seed=key(Stream.HEAD_RESETS, 3, 1), **STILL).state_dict()
    optimiser = played(agent, 8).optimizers[0]
    after, norm = agent.state_dict(), "extractor.norm."
    for name, old in before.items():
        online = name.replace("target.0", "extractor").replace("target.1", "head")
        if online.startswith("extractor.encoder."):
            assert torch.equal(after[name], old), name
        elif online.startswith(norm):
            assert torch.equal(after[name], after[online]), name
        else:
            mixed = keep * old + (1 - keep) * fresh[name]
            torch.testing.assert_close(after[name], mixed, rtol=0, atol=1e-6)
            assert not torch.equal(after[name], old), name
            assert torch.equal(after[name], after[online]), name
    # Adam counts the steps of each weight: since the reset at the third update, or since the start.
    counted = {name: int(optimiser.state[p]["step"]) for name, p in agent.named_parameters()
               if p in optimiser.state}  # fmt: skip
    heads = {name: steps for name, steps in counted.items() if "encoder" not in name}
    assert set(heads.values()) == {5}
    assert len(heads) == 2 + 16  # of the projection, and of four noisy layers
    assert {steps for name, steps in counted.items() if name not in heads} <= {8}
    assert (len(counted) > len(heads)) == (adapted is FineTuned)


@pytest.mark.slow
def test_every_reset_draws_other_weights_and_the_last_leaves_time_to_learn(encoder: Path) -> None:
    agent = dqn(Frozen(str(encoder)), seed=3, reset_interval=3, **STILL)
    played(agent, 10)  # resets at 3 and 6, none at 9
    fresh = dqn(Frozen(str(encoder)), seed=key(Stream.HEAD_RESETS, 3, 2), **STILL)
    for ours, theirs in zip(agent.head.parameters(), fresh.head.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    agent.schedule_steps = 5  # schedules of a shorter run: none but at 3 would leave three updates
    assert agent.schedules(9, 10) == {"updates since a reset": 3}
    assert agent.schedules(9, 5) == {"updates since a reset": 9}


@pytest.mark.slow
@pytest.mark.parametrize("value_head", ["regression", "c51", "hl_gauss"])
def test_every_value_head_learns_with_all_of_it(value_head: str, encoder: Path) -> None:
    settings = STILL | {"value_head": value_head, "per_alpha": 0.5, "lr": 0.01, "weight_decay": 0.1,
                        "tau": 0.005, "act_with_target": True, "reset_interval": 3,
                        "n_step": 4, "n_step_final": 1, "gamma": 0.97, "gamma_final": 0.997,
                        "anneal_updates": 2}  # fmt: skip
    agent = dqn(Frozen(str(encoder)), **settings)
    fresh = dqn(Frozen(str(encoder)), **settings | {"seed": key(Stream.HEAD_RESETS, 0, 1)})
    played(agent, 8)
    assert agent.notes["loss"] > 0
    assert (agent.notes["n_step"], agent.notes["gamma"]) == (1, pytest.approx(0.997))
    # Five updates after the reset the online network is on its way, its average hardly.
    online, average = (
        sum(float((p - q).detach().abs().sum()) for p, q in pairs)
        for head in (agent.head, agent.target[1])
        for pairs in [zip(head.parameters(), fresh.head.parameters(), strict=True)]
    )
    assert online > 50 * average > 0


def test_the_target_network_acts_where_it_is_asked_to() -> None:
    class Given(Encoder):
        """Features are made by the test."""

        dim, grid, stack, screen = 2, None, 4, (84, 84)

        def forward(self, screens: torch.Tensor, blocks: tuple[int, ...] = ()) -> Features:
            summary = torch.zeros(len(screens), self.dim)
            return Features(summary, summary[:, None])

    obs = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    for acts in (False, True):
        agent = DQN(Frozen(Given()), 4, features=ReadOut("cls"), noisy=0.5, act_with_target=acts,
                    epsilon_final=0.0, epsilon_evaluation=0.0, learning_starts=0,
                    epsilon_steps=1)  # fmt: skip
        other = agent.make_head(seed=1)
        agent.target[1].load_state_dict(other.state_dict())
        best = (other if acts else agent.head)(obs).argmax(dim=1)
        assert torch.equal(agent.act(obs, torch.Generator()), best)
        explored = agent.act(obs, torch.Generator().manual_seed(0), step=1)
        assert 0 < (explored != best).float().mean() < 0.9  # its noise explores


@pytest.mark.slow
def test_weights_of_heads_decay_and_biases_do_not(encoder: Path) -> None:
    settings = STILL | {"lr": 0.01, "noisy": 0.0}
    plain, decayed = (
        dqn(FineTuned(str(encoder)), weight_decay=decay, **settings) for decay in (0.0, 0.1)
    )
    start = copy.deepcopy(plain.state_dict())
    for agent in (plain, decayed):
        played(agent, 1)
    for (name, ours), theirs in zip(plain.named_parameters(), decayed.parameters(), strict=True):
        if not ours.requires_grad:
            continue
        matrix = name.endswith("weight") and "encoder" not in name
        lost = 0.01 * 0.1 * start[name] if matrix else torch.zeros(())
        torch.testing.assert_close(theirs.detach(), ours.detach() - lost, rtol=0, atol=1e-7)
        assert torch.equal(ours, theirs) != matrix, name


@pytest.mark.slow
@pytest.mark.parametrize(("envs", "train_freq"), [(1, 0.25), (8, 0.5), (8, 0.125), (2, 1)])
def test_a_replay_ratio_is_that_many_updates_an_agent_step(
    envs: int, train_freq: float, encoder: Path
) -> None:
    """Updates come as soon as their steps are played, in bursts of all that are due."""
    settings = STILL | {"train_freq": train_freq, "learning_starts": 48, "buffer_size": 64}
    task = AtariTask("pong", envs, total_steps=64, noop_max=0)
    experience = dqn(Frozen(str(encoder)), **settings).make_experience(task)
    assert len(experience) == 16 / train_freq
    burst = int(envs / train_freq)
    for update in range(len(experience)):
        experience.batch(update)
        assert experience.played == 48 + envs * (update // burst + 1)
