"""The recording loop plays what agents play, screen for screen."""

from functools import partial

import numpy as np
import pytest
from ale_py import Action, ALEInterface
from ale_py.vector_env import AtariVectorEnv

from fovea.atari import ram
from fovea.atari.emulator import Emulator, Settings, rom_path
from fovea.atari.games import GAMES
from fovea.command import UserError


@pytest.mark.slow
@pytest.mark.parametrize(
    ("game", "settings", "steps"),
    [
        ("breakout", Settings(), 450),  # short episodes: several starts and ends
        ("freeway", Settings(sticky=0), 150),  # the whole screen moves
        ("ms_pacman", Settings(noop_max=1), 150),  # flicker: the maximum matters
        ("seaquest", Settings(frame_skip=3), 150),
        ("breakout", Settings(fire_reset=True, full_actions=True), 450),
        ("breakout", Settings(fire_reset=True, noop_max=1), 450),
        ("freeway", Settings(fire_reset=True, sticky=0), 50),  # has no fire button
    ],
)
def test_screens_and_rewards_are_those_of_the_vector_env(game, settings, steps):
    envs = AtariVectorEnv(
        game,
        1,
        repeat_action_probability=settings.sticky,
        frameskip=settings.frame_skip,
        noop_max=settings.noop_max,
        autoreset_mode="SameStep",
        reward_clipping=False,
        use_fire_reset=settings.fire_reset,
        full_action_space=settings.full_actions,
    )
    screens, infos = envs.reset(seed=np.array([7]))
    emulator = Emulator(game, settings, seed=7)
    emulator.reset(noops=int(infos["episode_frame_number"][0]))
    episodes = 0
    for action in np.random.default_rng(0).integers(len(emulator.actions), size=steps):
        np.testing.assert_array_equal(emulator.screen, screens[0, -1])
        assert emulator.lives == infos["lives"][0]
        played = emulator.step(int(action))
        screens, reward, terminal, _, infos = envs.step(np.array([action]))
        assert played == (reward[0], terminal[0], False)
        if terminal[0]:
            episodes += 1
            emulator.reset(noops=int(infos["episode_frame_number"][0]))
    assert episodes > 0 or game != "breakout"


@pytest.mark.slow
def test_a_mode_and_a_difficulty_are_those_of_ale() -> None:
    played = {}
    for mode, difficulty in ((None, None), (1, None), (None, 1), (1, 1)):
        ale = ALEInterface()
        ale.setInt("random_seed", 0)
        ale.setFloat("repeat_action_probability", 0.0)
        ale.loadROM(rom_path("pong"))
        if mode is not None:
            ale.setMode(mode)
        if difficulty is not None:
            ale.setDifficulty(difficulty)
        ale.reset_game()
        emulator = Emulator("pong", Settings(sticky=0, mode=mode, difficulty=difficulty), seed=0)
        emulator.reset(noops=0)
        for _ in range(60):
            for _ in range(4):
                ale.act(Action.NOOP)
            emulator.step(0)
        assert emulator.ram.tolist() == ale.getRAM().tolist()
        played[mode, difficulty] = bytes(emulator.ram)
    assert len(set(played.values())) == 4
    with pytest.raises(UserError, match=r"^pong has no mode 7: choose among 0, 1$"):
        Emulator("pong", Settings(mode=7), seed=0)


ALL = [pytest.param(game.rom_id, marks=pytest.mark.evidence) for game in GAMES.values()]


@pytest.mark.slow
@pytest.mark.parametrize("game", ["breakout", "qbert", *ALL])
def test_a_game_begins_as_a_loaded_one_whoever_played_before(game: str) -> None:
    """In another variant, to the middle of an episode."""
    ale = ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(rom_path(game))
    mode, difficulty = ale.getAvailableModes()[-1], ale.getAvailableDifficulties()[-1]
    before = Emulator(game, Settings(mode=mode, difficulty=difficulty), seed=1)
    emulator = Emulator(game, Settings(sticky=0), seed=2)
    again = [emulator]
    for played in (before, emulator):
        played.reset(noops=20)
        for action in range(100):
            played.step(action % len(played.actions))
    del before
    again.append(Emulator(game, Settings(sticky=0), seed=3))
    emulator.seed(4)
    for action in range(80):
        if action == 0 or ale.game_over():
            for each in (ale.reset_game, *(partial(each.reset, noops=0) for each in again)):
                each()
        number = action * 7 % len(emulator.actions)
        reward = sum(ale.act(ale.getMinimalActionSet()[number]) for _ in range(4))
        for each in again:
            assert each.step(number) == (reward, ale.game_over(), False)
            assert each.ram.tolist() == ale.getRAM().tolist()


def test_memory_is_of_the_moment_of_the_screen():
    """Pong's right paddle is found on the screen where the memory says that it is."""
    emulator = Emulator("pong", Settings(sticky=0), seed=0)
    byte = {variable.name: variable.byte for variable in ram.variables("pong")}["player_y"]
    emulator.reset(noops=0)
    rng = np.random.default_rng(0)
    said, seen = [], []
    for _ in range(400):
        column = emulator.screen[14:77, 74].astype(int)  # the paddle's column, between the walls
        paddle = np.flatnonzero(np.abs(column - np.median(column)) > 20)
        if len(paddle):
            said.append(int(emulator.ram[byte]))
            seen.append(paddle.mean())
        emulator.step(int(rng.integers(6)))
    assert len(said) > 300
    assert np.std(said) > 5
    assert np.corrcoef(said, seen)[0, 1] > 0.98


def test_an_episode_is_cut_at_max_frames():
    emulator = Emulator("pong", Settings(max_frames=10), seed=0)
    emulator.reset(noops=0)
    assert [emulator.step(0)[1:] for _ in range(3)] == [(False, False)] * 2 + [(False, True)]
