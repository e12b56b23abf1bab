"""Transitions sampled from the replay are those of a plain list of episodes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fovea.agents.adaptation.base import FineTuned, Frozen
from fovea.agents.algorithms.dqn import DQN
from fovea.agents.experience.priorities import Priorities
from fovea.agents.experience.replay import Replay
from fovea.agents.task import AtariTask
from fovea.command import UserError
from fovea.pretrain.encoders.vit import Shape, build

THEN = ("goes on", "goes on", "goes on", "goes on", "over", "life lost", "cut")
GAMMA = 0.5

rows = st.integers(1, 3).flatmap(
    lambda envs: st.lists(
        st.lists(st.sampled_from(THEN), min_size=envs, max_size=envs), min_size=2, max_size=40
    )
)


def filled(
    length: int, envs: int, stack: int, played: list, n: int = 1
) -> tuple[Replay, list[dict], Priorities]:
    """A replay, every step as a plain list knows it, and priorities of steps of n.

    Screens are numbered from 1.
    """
    memory = Replay(length * envs, envs, torch.zeros(1, 1, dtype=torch.int64), stack)
    priorities = Priorities(memory, n, alpha=1.0)
    steps: list[dict] = []
    episode = [[] for _ in range(envs)]
    start = torch.ones(envs, dtype=torch.bool)
    for row, then in enumerate(played):
        number = torch.arange(envs) + row * envs + 1
        terminal, cut, ended = (
            torch.tensor([what in values for what in then])
            for values in (("over", "life lost"), ("cut",), ("over", "cut"))
        )
        memory.append(
            obs=number[:, None, None],
            action=number % 5,
            reward=number.float(),
            terminal=terminal,
            truncated=cut,
            episode_start=start,
        )
        priorities.appended()
        for env in range(envs):
            step = {"number": int(number[env]), "then": then[env], "row": row}
            episode[env].append(step)
            step["screens"] = [other["number"] for other in episode[env]]
            step["after"] = episode[env]
            steps.append(step)
            if ended[env]:
                episode[env] = []
        start = ended
    return memory, steps, priorities


@pytest.mark.slow
@settings(max_examples=100)
@given(rows, st.integers(8, 20), st.integers(1, 3), st.integers(1, 3))
def test_samples_never_cross_episodes_and_every_step_can_be_sampled(
    played: list, length: int, stack: int, n: int
) -> None:
    envs = len(played[0])
    memory, steps, priorities = filled(length, envs, stack, played, n)
    oldest = max(0, len(played) - length)
    oldest += stack - 1 if len(played) > length else 0
    can = {
        s["number"]: s for s in steps if oldest <= s["row"] < len(played) - n and s["then"] != "cut"
    }
    assume(can)
    row, env, weight = priorities.sample(1000, 0.5, torch.Generator().manual_seed(0))
    assert set((row * envs + env + 1).tolist()) == set(can)
    assert (weight == 1).all()
    drawn = memory.sample(1000, n, GAMMA, torch.Generator().manual_seed(0))
    assert set(drawn.obs[:, -1].flatten().tolist()) == set(can)
    for obs, action, reward, discount, next_obs in zip(*drawn[:5], strict=True):
        step = can[int(obs[-1])]
        assert obs.flatten().tolist() == ([0] * stack + step["screens"])[-stack:]
        assert action == step["number"] % 5
        total, factor, at = 0.0, 1.0, len(step["screens"]) - 1
        for later in step["after"][at : at + n]:
            if later["then"] == "cut":
                break
            total, factor, at = total + factor * later["number"], factor * GAMMA, at + 1
            if later["then"] in ("over", "life lost"):
                factor = 0.0
                break
        assert (reward.item(), discount.item()) == (total, factor)
        if factor:
            after = step["after"][at]["screens"]
            assert next_obs.flatten().tolist() == ([0] * stack + after)[-stack:]


def test_a_replay_from_a_checkpoint_samples_the_same() -> None:
    played = [(["goes on", "cut" if row % 5 == 4 else "goes on"], row == 7) for row in range(30)]
    memory, *_ = filled(12, 2, 3, played)
    other = Replay(24, 2, torch.zeros(1, 1, dtype=torch.int64), stack=3)
    other.load_state_dict(memory.state_dict())
    ours, theirs = (
        m.sample(64, 2, GAMMA, torch.Generator().manual_seed(1)) for m in (memory, other)
    )
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_mapped_replay_is_the_one_in_memory_and_leaves_no_file(tmp_path: Path) -> None:
    row = torch.zeros(6, 5, dtype=torch.uint8)
    replays = [Replay(12, 2, row, stack=2), Replay(12, 2, row, stack=2, folder=tmp_path)]
    assert list(tmp_path.iterdir()) == []
    flags = torch.zeros(2, dtype=torch.bool)
    screens = torch.randint(255, (9, 2, 6, 5), generator=torch.Generator().manual_seed(0))
    for memory in replays:
        for number, seen in enumerate(screens):
            memory.append(obs=seen, action=flags, reward=flags + number, terminal=flags,
                          truncated=flags, episode_start=flags)  # fmt: skip
    assert list(tmp_path.iterdir()) == []
    ours, theirs = (m.sample(64, 2, GAMMA, torch.Generator().manual_seed(1)) for m in replays)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert ours.obs.float().std() > 0


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_a_replay_that_does_not_fit_is_refused_and_the_size_that_it_names_fits(
    place: str, tmp_path: Path
) -> None:
    screen = torch.zeros(84, 84, dtype=torch.uint8)
    folder = tmp_path / "runs" if place == "disk" else None
    with pytest.raises(UserError, match=f"are free{' on the disk of' if folder else ''}") as fault:
        Replay(10**12, 8, screen, stack=4, folder=folder)
    size = int(re.search(r"set model.init_args.buffer_size to (\d+) or less", str(fault.value))[1])
    assert size > 1000
    assert Replay(size // 2, 8, screen, stack=4, folder=folder).length == size // 2 // 8
    with pytest.raises(UserError, match="are free"):
        Replay(2 * size, 8, screen, stack=4, folder=folder)
    assert list(tmp_path.iterdir()) == []  # room is taken with the first step


@pytest.mark.slow
def test_stored_features_are_those_of_the_screens_that_would_have_been_stored() -> None:
    encoder = build(Shape(patch=42)).eval()
    drawn = {}
    for adapted in (Frozen(encoder), FineTuned(encoder)):
        task = AtariTask("breakout", num_envs=2, total_steps=400, max_frames=80)
        agent = DQN(encoder=adapted, actions=task.action_count, batch_size=200, buffer_size=400,
                    learning_starts=390, n_step=3, hidden=8)  # fmt: skip
        task.attach(agent)
        drawn[adapted.frozen] = task.experience.batch(0)
    features, screens = drawn[True], drawn[False]
    assert screens.obs.shape == (200, 4, 84, 84)
    assert features.obs.shape == (200, 192)
    extractor = agent.extractor
    torch.testing.assert_close(features.obs, extractor(screens.obs), rtol=0, atol=1e-4)
    torch.testing.assert_close(features.next_obs, extractor(screens.next_obs), rtol=0, atol=1e-4)
    for name in ("action", "reward", "discount"):
        assert torch.equal(getattr(features, name), getattr(screens, name))
