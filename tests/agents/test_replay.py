"""What is drawn from the replay is what a plain list of episodes says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fovea.agents.adaptation.base import FineTuned, Frozen
from fovea.agents.algorithms.dqn import DQN
from fovea.agents.experience import replay
from fovea.agents.experience.priorities import Priorities
from fovea.agents.experience.replay import Replay
from fovea.agents.task import Play
from fovea.command import UserError
from fovea.pretrain.encoders.vit import Shape, build

THEN = ("goes on", "goes on", "goes on", "goes on", "over", "life lost", "cut")
GAMMA = 0.5

rows = st.integers(1, 3).flatmap(
    lambda envs: st.lists(
        st.tuples(st.lists(st.sampled_from(THEN), min_size=envs, max_size=envs),
                  st.sampled_from((False, False, False, True))),
        min_size=2, max_size=40,
    )
)  # fmt: skip


def filled(
    length: int, envs: int, stack: int, played: list, n: int = 1
) -> tuple[Replay, list[dict], Priorities]:
    """A replay, every step as a plain list knows it, and priorities of steps of n.

    Screens are numbered from 1.
    """
    memory = Replay(length * envs, envs, torch.zeros(1, 1, dtype=torch.int64), stack)
    priorities = Priorities(memory, n, exponent=1.0)
    steps: list[dict] = []
    episode = [[] for _ in range(envs)]
    first = torch.ones(envs, dtype=torch.bool)
    for row, (then, checkpoint) in enumerate(played):
        number = torch.arange(envs) + row * envs + 1
        terminal, cut, ended = (
            torch.tensor([what in values for what in then])
            for values in (("over", "life lost"), ("cut",), ("over", "cut"))
        )
        memory.append(
            observed=number[:, None, None],
            action=number % 5,
            reward=number.float(),
            terminal=terminal,
            cut=cut,
            first=first,
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
        first = ended
        if checkpoint:
            memory.cut()
            for step in steps[-envs:]:
                step["then"] = "cut" if step["then"] == "goes on" else step["then"]
            episode = [[] for _ in range(envs)]
            first = torch.ones(envs, dtype=torch.bool)
    return memory, steps, priorities


@settings(deadline=None, max_examples=100)
@given(rows, st.integers(8, 20), st.integers(1, 3), st.integers(1, 3))
def test_draws_never_cross_episodes_and_every_step_can_be_drawn(
    played: list, length: int, stack: int, n: int
) -> None:
    envs = len(played[0][0])
    memory, steps, priorities = filled(length, envs, stack, played, n)
    oldest = max(0, len(played) - length)
    oldest += stack - 1 if len(played) > length else 0
    can = {
        s["number"]: s for s in steps if oldest <= s["row"] < len(played) - n and s["then"] != "cut"
    }
    assume(can)
    row, env, weight = priorities.draw(1000, 0.5, torch.Generator().manual_seed(0))
    assert set((row * envs + env + 1).tolist()) == set(can)
    assert (weight == 1).all()
    drawn = memory.sample(1000, n, GAMMA, torch.Generator().manual_seed(0))
    assert set(drawn.observed[:, -1].flatten().tolist()) == set(can)
    for observed, action, reward, discount, following in zip(*drawn[:5], strict=True):
        step = can[int(observed[-1])]
        assert observed.flatten().tolist() == ([0] * stack + step["screens"])[-stack:]
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
            assert following.flatten().tolist() == ([0] * stack + after)[-stack:]


def test_what_a_checkpoint_holds_is_the_replay() -> None:
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
            memory.append(observed=seen, action=flags, reward=flags + number, terminal=flags,
                          cut=flags, first=flags)  # fmt: skip
    assert list(tmp_path.iterdir()) == []
    ours, theirs = (m.sample(64, 2, GAMMA, torch.Generator().manual_seed(1)) for m in replays)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert ours.observed.float().std() > 0


def test_a_replay_larger_than_memory_is_refused_before_it_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(replay, "free_memory", lambda: 1_000_000_000)
    screen = torch.zeros(84, 84, dtype=torch.uint8)
    with pytest.raises(UserError, match=r"takes 7\.1 GB and 1\.0 GB are free.* to 113\d\d\d or"):
        Replay(1_000_000, 8, screen, stack=4)
    assert Replay(80, 8, screen, stack=4).length == 10
    monkeypatch.setattr(replay, "free_disk", lambda folder: 2_000_000_000)
    with pytest.raises(UserError, match=r"7\.1 GB and 2\.0 GB are free on the disk of .*runs"):
        Replay(1_000_000, 8, screen, stack=4, folder=tmp_path / "runs")
    assert Replay(200_000, 8, screen, stack=4, folder=tmp_path / "runs").length == 25_000


def test_held_features_are_those_of_the_screens_that_would_have_been_held() -> None:
    encoder = build(Shape(patch=42)).eval()
    drawn = {}
    for adapted in (Frozen(encoder), FineTuned(encoder)):
        play = Play("breakout", envs=2, steps=400, max_frames=80)
        agent = DQN(encoder=adapted, actions=play.action_count, batch=200, replay=400, warmup=390,
                    n_step=3, hidden=8)  # fmt: skip
        play.attach(agent)
        drawn[adapted.frozen] = play.experience.batch(0)
    features, screens = drawn[True], drawn[False]
    assert screens.observed.shape == (200, 4, 84, 84)
    assert features.observed.shape == (200, 192)
    eyes = agent.eyes
    torch.testing.assert_close(features.observed, eyes(screens.observed), rtol=0, atol=1e-4)
    torch.testing.assert_close(features.following, eyes(screens.following), rtol=0, atol=1e-4)
    for name in ("action", "reward", "discount"):
        assert torch.equal(getattr(features, name), getattr(screens, name))
