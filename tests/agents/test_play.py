"""The game an agent learns: named protocols, and which actions there are."""

from __future__ import annotations

import pytest

from agents.play import PROTOCOLS, Play


def test_a_protocol_names_the_settings_and_a_setting_beside_it_holds() -> None:
    plain, strict = Play("pong", envs=1), Play("pong", envs=1, protocol="atari_100k")
    assert plain.rules == PROTOCOLS["machado"] == (0.25, 30, False, 108_000, 10)
    assert strict.rules == PROTOCOLS["atari_100k"] == (0.0, 30, True, 108_000, 100)
    own = Play("pong", envs=1, protocol="atari_100k", sticky=0.1, max_frames=400)
    assert own.rules == (0.1, 30, True, 400, 100)


@pytest.mark.parametrize(("full", "count"), [(False, 4), (True, 18)])
def test_the_actions_are_the_games_own_or_all(full: bool, count: int) -> None:
    play = Play("breakout", envs=1, full_actions=full)
    assert play.action_count == count
    assert play.start(1, False, 400, seed=0).action_count == count
