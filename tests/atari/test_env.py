"""Agents see what Gymnasium's own wrappers show, and every episode ends where it should."""

from __future__ import annotations

from itertools import pairwise

import ale_py
import gymnasium
import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from fovea.atari.env import Envs, Step

gymnasium.register_envs(ale_py)
NAMES = {"pong": "Pong", "breakout": "Breakout", "ms_pacman": "MsPacman", "freeway": "Freeway"}


class Noops(gymnasium.Wrapper):
    """Do nothing for a number of frames that the test says, where Gymnasium draws it."""

    def __init__(self, env: gymnasium.Env, noops: int):
        super().__init__(env)
        self.noops = noops

    def reset(self, **options):
        first = self.env.reset(**options)
        for _ in range(self.noops):
            self.env.step(0)
        return first


def gymnasium_env(game, *, stack=4, sticky=0.0, frame_skip=4, noops=0) -> gymnasium.Env:
    plain = gymnasium.make(
        f"ALE/{NAMES[game]}-v5", frameskip=1, repeat_action_probability=sticky
    ).unwrapped
    seen = AtariPreprocessing(Noops(plain, noops), noop_max=0, frame_skip=frame_skip)
    return FrameStackObservation(seen, stack, padding_type="zero")


def actions(envs: Envs, steps: int) -> np.ndarray:
    return np.random.default_rng(0).integers(envs.action_count, size=(steps, envs.num_envs))


def play(envs: Envs, steps: int) -> list[Step]:
    return [envs.step(chosen) for chosen in actions(envs, steps)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("game", "steps", "settings"),
    [
        ("breakout", 220, {}),  # games end
        ("pong", 120, {"stack": 1}),
        ("ms_pacman", 140, {"stack": 3}),  # flicker: the maximum matters
        ("freeway", 60, {"frame_skip": 3, "stack": 2}),
        ("pong", 60, {"sticky": 1.0}),  # no action ever arrives
    ],
)
def test_agents_see_what_gymnasiums_wrappers_show(game, steps, settings):
    """Frame by frame, with the reward, the end and the sum of the rewards of an episode."""
    envs = Envs(game, 2, seed=0, noop_max=1, **({"sticky": 0} | settings))
    theirs = [gymnasium_env(game, **settings) for _ in range(2)]
    first = np.stack([env.reset()[0] for env in theirs])
    np.testing.assert_array_equal(envs.screens, first)
    returns = np.zeros(2)
    ended = 0
    for chosen in actions(envs, steps):
        step = envs.step(chosen)
        for env, action in enumerate(chosen):
            screens, reward, terminal, truncated, _ = theirs[env].step(int(action))
            returns[env] += reward
            assert step.reward[env] == reward
            assert (step.terminal[env], step.truncated[env]) == (terminal, truncated)
            assert step.ended[env] == terminal
            if terminal:
                screens, _ = theirs[env].reset()
            np.testing.assert_array_equal(step.screens[env], screens)
        assert step.returns.tolist() == returns[step.ended].tolist()
        ended += step.ended.sum()
        returns[step.ended] = 0
    assert ended > 1 or game != "breakout"


@pytest.mark.slow
def test_an_episode_starts_with_fewer_than_noop_max_idle_frames():
    """Of Freeway's frames, whose cars always move, each env shows one of the first three."""
    shown = Envs("freeway", 6, seed=0, sticky=0, noop_max=3, stack=1).screens
    frames = [gymnasium_env("freeway", stack=1, noops=noops).reset()[0] for noops in range(3)]
    idle = [[np.array_equal(screens, frame) for frame in frames].index(True) for screens in shown]
    assert set(idle) == {0, 1, 2}


def test_the_button_is_pressed_first_only_if_asked():
    # Breakout's ball waits for the button.
    for asked in (False, True):
        envs = Envs("breakout", 1, seed=0, sticky=0.0, noop_max=0, fire_reset=asked)
        start = envs.screens.copy()
        moved = any((envs.step(np.zeros(1)).screens[0, -1] != start[0, -1]).any() for _ in range(8))
        assert moved == asked


@pytest.mark.slow
def test_a_lost_life_is_terminal_only_if_asked_and_the_game_goes_on():
    same = {"seed": 3, "sticky": 0, "noop_max": 1}
    plain = Envs("breakout", 2, **same)
    asking = Envs("breakout", 2, **same, life_loss_terminal=True)
    theirs, lost, over = [gymnasium_env("breakout") for _ in range(2)], 0, 0
    lives = np.array([env.reset()[1]["lives"] for env in theirs])
    for chosen in actions(plain, 220):
        step, asked = plain.step(chosen), asking.step(chosen)
        now = np.array([
            env.step(int(action))[4]["lives"]  # what the console says
            for env, action in zip(theirs, chosen, strict=True)
        ])  # fmt: skip
        loses = (now < lives) & (now > 0)
        for env in np.flatnonzero(step.ended):
            now[env] = theirs[env].reset()[1]["lives"]
        lives = now
        np.testing.assert_array_equal(step.screens, asked.screens)
        np.testing.assert_array_equal(step.returns, asked.returns)
        np.testing.assert_array_equal(asked.ended, step.ended)
        np.testing.assert_array_equal(step.terminal, step.ended)
        np.testing.assert_array_equal(asked.terminal, step.terminal | loses)
        lost, over = lost + loses.sum(), over + step.ended.sum()
    assert lost > over > 0


def test_rewards_are_raw():
    """Ms. Pac-Man's pills give 10 each, which clipping would make 1."""
    steps = play(Envs("ms_pacman", 1, seed=0, sticky=0), 100)  # it begins with a tune
    assert {float(step.reward[0]) for step in steps} == {0.0, 10.0}
    assert steps[0].reward.dtype == np.float32


@pytest.mark.slow
def test_episodes_are_cut_at_max_frames_with_their_own_last_screens():
    """A cut changes nothing but where episodes end: before it and in its last screens."""
    uncut = Envs("pong", 3, seed=1)
    cut = Envs("pong", 3, seed=1, max_frames=40)  # ten steps
    for number, chosen in enumerate(actions(uncut, 25), start=1):
        expected, step = uncut.step(chosen), cut.step(chosen)
        if number < 10:
            assert step.final_screens is None
            np.testing.assert_array_equal(step.screens, expected.screens)
        if number == 10:
            np.testing.assert_array_equal(step.final_screens, expected.screens)
        is_cut = number in (10, 20)
        assert step.truncated.tolist() == step.ended.tolist() == [is_cut] * 3
        assert not step.terminal.any()
        assert step.lengths.tolist() == [10] * 3 * is_cut
        if is_cut:  # black screens before an episode's first
            assert not step.screens[:, :-1].any()
            assert step.screens[:, -1].any(axis=(1, 2)).all()


@pytest.mark.slow
def test_one_env_that_ends_leaves_the_others_as_they_are():
    """Final screens of the rest are their screens; what is kept is not overwritten later."""
    envs = Envs("breakout", 3, seed=1, max_frames=600)
    steps, copies = [], []
    got, taken = np.zeros(3), np.zeros(3)
    for chosen in actions(envs, 300):
        step = envs.step(chosen)
        steps.append(step)
        copies.append(step.screens.copy())
        got += step.reward
        taken += 1
        assert step.returns.tolist() == got[step.ended].tolist()
        assert step.lengths.tolist() == taken[step.ended].tolist()
        got[step.ended] = taken[step.ended] = 0
    mixed = over = cut = 0
    for before, step in pairwise(steps):
        if not step.ended.any():
            assert step.final_screens is None
            continue
        on = ~step.ended
        mixed += on.any()
        np.testing.assert_array_equal(step.final_screens[on], step.screens[on])
        np.testing.assert_array_equal(step.screens[on, :-1], before.screens[on, 1:])
        np.testing.assert_array_equal(  # an episode's last screens go on from those before
            step.final_screens[step.truncated, :-1], before.screens[step.truncated, 1:]
        )
        assert not (step.terminal & step.truncated).any()
        assert len(step.returns) == len(step.lengths) == step.ended.sum()
        over += step.terminal.sum()
        cut += step.truncated.sum()
    assert mixed
    assert over
    assert cut
    for step, copy in zip(steps, copies, strict=True):
        np.testing.assert_array_equal(step.screens, copy)


@pytest.mark.slow
def test_what_happens_is_a_function_of_the_seed_and_the_actions():
    envs = Envs("breakout", 2, seed=5)
    once = play(envs, 60)
    assert not np.array_equal(once[-1].screens[0], once[-1].screens[1])
    other = Envs("breakout", 2, seed=6, sticky=0.25)
    assert not np.array_equal(play(other, 60)[-1].screens, once[-1].screens)
    np.testing.assert_array_equal(other.restart(5), other.screens)
    again = play(other, 60)
    for step, same in zip(once, again, strict=True):
        np.testing.assert_array_equal(step.screens, same.screens)
        np.testing.assert_array_equal(step.reward, same.reward)


@pytest.mark.slow
def test_restart_forgets_the_episodes_under_way():
    envs = Envs("pong", 2, seed=0, max_frames=360)
    assert sum(step.reward for step in play(envs, 89)).any()
    envs.restart(0)
    steps = play(envs, 90)
    assert [step.lengths.tolist() for step in steps] == [[]] * 89 + [[90, 90]]
    assert steps[-1].returns.tolist() == sum(step.reward for step in steps).tolist()


def test_actions_are_the_minimal_set():
    envs = Envs("ALE/Freeway-v5", 1, seed=0)
    assert envs.action_meanings == ["NOOP", "UP", "DOWN"]
    assert envs.action_count == 3


@pytest.mark.slow
def test_all_actions_are_the_same_in_every_game_and_lead_where_the_games_own_do():
    """Of Freeway's three actions the whole set holds each at another place."""
    whole, own = Envs("freeway", 1, seed=0, full_actions=True), Envs("freeway", 1, seed=0)
    assert whole.action_meanings == Envs("pong", 1, seed=0, full_actions=True).action_meanings
    assert (whole.action_count, own.action_count) == (18, 3)
    for chosen in actions(own, 40):
        named = [whole.action_meanings.index(own.action_meanings[a]) for a in chosen]
        ours, theirs = own.step(chosen), whole.step(np.array(named))
        np.testing.assert_array_equal(ours.screens, theirs.screens)


@pytest.mark.parametrize(
    ("game", "settings"),
    [
        pytest.param(
            "breakout",
            {"fire_reset": True, "life_loss_terminal": True, "max_frames": 600},
            marks=pytest.mark.slow,
        ),
        ("pong", {"stack": 2, "sticky": 0.9, "max_frames": 160}),  # what sticks is old
        pytest.param("ms_pacman", {"sticky": 0.0, "full_actions": True}, marks=pytest.mark.slow),
    ],
)
def test_a_saved_state_goes_on_as_if_nothing_had_been_saved(game: str, settings: dict) -> None:
    """Also in other environments, past the ends of episodes, and saving changes nothing."""
    envs, never_saved, other = (Envs(game, 2, seed=seed, **settings) for seed in (5, 5, 8))
    chosen = actions(envs, 230)
    play(other, 30)
    for action in chosen[:130]:
        envs.step(action)
        never_saved.step(action)
        saved = envs.state()
    other.load_state(saved)
    ended = 0
    for action in chosen[130:]:
        steps = [each.step(action) for each in (never_saved, envs, other)]
        for one, same in pairwise(steps):
            for name, value in vars(one).items():
                np.testing.assert_array_equal(value, getattr(same, name), name)
        ended += steps[0].ended.sum()
    assert ended or game == "ms_pacman"


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"sticky": 0.25}, {"sticky": 0.1, "fire_reset": True}])
def test_seeds_mean_what_they_do_to_ale_pys_own_environments(settings: dict) -> None:
    """Idle frames, sticky actions and the button, through several games."""
    ours = Envs("breakout", 3, seed=7, **settings)
    seeds = np.random.SeedSequence(7).generate_state(3) >> 1
    theirs = AtariVectorEnv(
        "breakout",
        3,
        noop_max=30,
        autoreset_mode="SameStep",
        reward_clipping=False,
        repeat_action_probability=settings["sticky"],
        use_fire_reset=settings.get("fire_reset", False),
    )
    np.testing.assert_array_equal(ours.screens, theirs.reset(seed=seeds.astype(np.int64))[0])
    ended = 0
    for chosen in actions(ours, 250):
        step = ours.step(chosen)
        screens, reward, over, _, _ = theirs.step(chosen)
        np.testing.assert_array_equal(step.screens, screens)
        np.testing.assert_array_equal(step.reward, reward)
        np.testing.assert_array_equal(step.ended, over)
        ended += over.sum()
    assert ended > 1
