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


def wrapped() -> gymnasium.Env:
    env = gymnasium.make("ALE/Breakout-v5", frameskip=1, repeat_action_probability=0.0)
    env = AtariPreprocessing(env, noop_max=0)
    return FrameStackObservation(env, 4, padding_type="zero")


@pytest.mark.slow
def test_an_episode_of_breakout_is_the_same_to_its_end() -> None:
    """Also the screens of its last step, where both have begun the next episode already."""
    theirs = SyncVectorEnv([wrapped], autoreset_mode=AutoresetMode.SAME_STEP)
    ours = Envs("breakout", 1, seed=1, sticky=0.0, noop_max=0)
    seen, _ = theirs.reset(seed=1)
    assert np.array_equal(seen, ours.screens)
    random = np.random.default_rng(0)
    for _ in range(1000):
        before, actions = ours.screens, random.integers(ours.action_count, size=1)
        seen, _, ended, _, info = theirs.step(actions)
        step = ours.step(actions)
        assert np.array_equal(ended, step.ended)
        if ended.any():
            break
        assert np.array_equal(seen, step.screens)
    assert ended.all()
    assert np.array_equal(info["final_obs"][0], step.final_screens[0])
    assert np.array_equal(step.final_screens[0, -1], before[0, -1])
    assert not np.array_equal(step.screens, step.final_screens)
    theirs.close()
