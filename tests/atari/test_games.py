"""Names, scores and the memory table."""

import gymnasium
import pytest
from ale_py import roms

from fovea.atari import ram
from fovea.atari.games import GAMES, find, hns
from fovea.command import UserError


def test_all_games_have_a_rom_and_an_environment_id():
    assert len(GAMES) == 55
    assert set(GAMES) <= set(roms.get_all_rom_ids())
    ids = {f"ALE/{game.name}-v5" for game in GAMES.values()}
    assert ids <= set(gymnasium.registry)


def test_benchmarks_are_marked():
    assert sum(game.atari_100k for game in GAMES.values()) == 26
    assert sum(game.tov_vicreg_paper for game in GAMES.values()) == 10
    assert GAMES["pong"].atari_100k
    assert not GAMES["enduro"].atari_100k


@pytest.mark.parametrize(
    "name", ["ms_pacman", "MsPacman", "ALE/MsPacman-v5", "MsPacmanNoFrameskip-v4"]
)
def test_every_spelling_finds_the_game(name):
    assert find(name) is GAMES["ms_pacman"]


@pytest.mark.parametrize(("name", "close"), [("pogn", "pong"), ("ALE/Breakot-v5", "breakout")])
def test_an_unknown_game_gets_the_closest_name(name, close):
    with pytest.raises(UserError, match=close) as mistake:
        find(name)
    assert name in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_human_normalised_score():
    assert hns("Pong", -20.7) == 0
    assert hns("ALE/Pong-v5", 14.6) == pytest.approx(1)
    assert hns("double_dunk", -17.5) == pytest.approx(0.5)


def test_memory_table():
    assert len(ram.games()) == 24
    everything = [variable for game in ram.games() for variable in ram.variables(game)]
    assert len(everything) == 362
    assert all(0 <= variable.byte < 128 for variable in everything)
    assert {variable.category for variable in everything} == set(ram.CATEGORIES)
    for game in ram.games():
        names = [variable.name for variable in ram.variables(game)]
        assert len(names) == len(set(names))
    pong = {variable.name: variable for variable in ram.variables("ALE/Pong-v5")}
    assert pong["player_y"] == ("player_y", 51, "agent_localization")
    assert ram.variables("enduro") == []
