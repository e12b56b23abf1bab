"""Our environments show what gymnasium's wrappers of the same game show."""

from __future__ import annotations

import ale_py
import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from fovea.atari.env import Envs

gymnasium.register_envs(ale_py)


def wrapped(name: str) -> gymnasium.Env:
    env = gymnasium.make(f"ALE/{name}-v5", frameskip=1, repeat_action_probability=0.0)
    env = AtariPreprocessing(env, noop_max=0)
    return FrameStackObservation(env, 4, padding_type="zero")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("game", "name", "same_last"),
    [
        ("breakout", "Breakout", True),
        ("ms_pacman", "MsPacman", True),
        pytest.param("pong", "Pong", True, marks=pytest.mark.evidence),
        # It ends in the last of four frames, whose third gymnasium shows then, and ours does not.
        pytest.param("freeway", "Freeway", False, marks=pytest.mark.evidence),
    ],
)
def test_an_episode_is_the_same_to_its_end(game: str, name: str, same_last: bool) -> None:
    """Also the screens of its last step, where both have begun the next episode already."""
    theirs = SyncVectorEnv([lambda: wrapped(name)], autoreset_mode=AutoresetMode.SAME_STEP)
    ours = Envs(game, 1, seed=1, sticky=0.0, noop_max=0)
    seen, _ = theirs.reset(seed=1)
    assert np.array_equal(seen, ours.screens)
    random = np.random.default_rng(0)
    for _ in range(2100):
        before, actions = ours.screens, random.integers(ours.action_count, size=1)
        seen, _, ended, _, info = theirs.step(actions)
        step = ours.step(actions)
        assert np.array_equal(ended, step.ended)
        if ended.any():
            break
        assert np.array_equal(seen, step.screens)
    assert ended.all()
    assert np.array_equal(info["final_obs"][0], step.final_screens[0]) == same_last
    assert np.array_equal(info["final_obs"][0][:-1], step.final_screens[0, :-1])
    assert np.array_equal(step.final_screens[0, -1], before[0, -1])
    assert not np.array_equal(step.screens, step.final_screens)
    theirs.close()
