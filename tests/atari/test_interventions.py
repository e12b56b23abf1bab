"""A byte that is held moves what it stands for, from the same moment, and leaves the rest."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.atari.interventions import edited, moments


@pytest.mark.slow
def test_a_car_is_where_its_byte_says() -> None:
    play = moments("freeway", 4, 2, seed=1)
    assert play.screens.shape == (4, 2, 84, 84)
    found = edited(play, 108, seed=1)  # enemy_car_x_0, whose lane is the first
    assert found.screens.shape == play.screens.shape
    assert found.shown.all()
    rows = np.nonzero((found.screens[:, -1] != play.screens[:, -1]).any((0, 2)))[0]
    assert rows.max() - rows.min() < 8  # of one lane alone
    again = edited(moments("freeway", 4, 2, seed=1), 108, seed=1)
    assert np.array_equal(again.screens, found.screens)
    assert np.array_equal(again.value, found.value)
    other = moments("freeway", 4, 2, seed=2)
    assert not np.array_equal(other.ram, play.ram)


def test_what_the_game_writes_anew_does_not_show() -> None:
    play = moments("pong", 2, 2)
    assert not edited(play, 51).shown.any()  # the paddle, which the joystick sets
    # Nothing stays of an edit.
    assert np.array_equal(moments("pong", 2, 2).screens, play.screens)
    assert play.emulator.held == {}
