"""The table of the console's memory, and which of its bytes vary enough to be asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fovea.atari.ram import entropy, variables, varied


def test_entropy_is_in_nats() -> None:
    assert entropy(np.array([4, 4, 9, 9], dtype=np.uint8)) == pytest.approx(math.log(2))
    assert entropy(np.array([4, 4], dtype=np.uint8)) == 0


def test_bytes_that_hardly_change_are_not_asked_for() -> None:
    first, second, *_ = variables("pong")
    ram, row = np.zeros((64, 128), dtype=np.uint8), np.arange(64)
    ram[:, first.byte] = row % 2  # entropy log 2 = 0.69
    ram[:, second.byte] = row % 8 == 0  # entropy 0.38
    assert varied("pong", ram) == [first]


def test_a_game_that_the_table_does_not_have_asks_nothing() -> None:
    assert varied("gopher", np.zeros((4, 128), dtype=np.uint8)) == []
