"""Boxes of objects lie where the screen shows the objects."""

from __future__ import annotations

import numpy as np
import pytest
from ale_py import ALEInterface

from fovea.atari.emulator import rom_path
from fovea.atari.objects import boxes, covered, on_objects

COLOURS = {
    ("pong", "player"): (92, 186, 92),
    ("pong", "enemy"): (213, 130, 74),
    ("pong", "ball"): (236, 236, 236),
    ("breakout", "player"): (200, 72, 72),
    ("breakout", "ball"): (200, 72, 72),
    ("freeway", "chicken"): (252, 252, 84),
    ("boxing", "player"): (214, 214, 214),
    ("boxing", "enemy"): (0, 0, 0),
}


@pytest.mark.parametrize(
    "game",
    [
        "pong",
        *(
            pytest.param(game, marks=pytest.mark.evidence)
            for game in ("breakout", "boxing", "freeway")
        ),
    ],
)
def test_a_box_holds_its_object(game: str) -> None:
    ale = ALEInterface()
    ale.setInt("random_seed", 3)
    ale.loadROM(rom_path(game))
    actions, rng = ale.getMinimalActionSet(), np.random.default_rng(0)
    inside: dict[str, list[float]] = {}
    for step in range(300):
        ale.act(actions[rng.integers(len(actions))])
        if step < 120 or step % 4:
            continue
        frame, ram = ale.getScreenRGB(), ale.getRAM()[None]
        for name, ((place,),) in boxes(game, ram).items():
            left, top, right, bottom = place
            found = inside.setdefault(name, [])
            if left >= 0:
                box = frame[top:bottom, left:right]
                found.append(float((box == COLOURS[game, name]).all(-1).any((0, 1))))
    assert inside.keys() == {name for of, name in COLOURS if of == game}
    assert all(len(found) > 10 for found in inside.values()), inside
    shares = {name: float(np.mean(found)) for name, found in inside.items()}
    assert min(shares.values()) > 0.95, shares


def test_boxes_by_hand() -> None:
    ram = np.zeros((2, 128), np.uint8)
    ram[:, 49], ram[0, 54] = 49 + 80, 14 + 100  # a ball at column 80, row 100; and none
    assert boxes("pong", ram)["ball"].tolist() == [[[80, 100, 82, 104]], [[-1, -1, -1, -1]]]
    there = on_objects("pong", ram)
    assert there.shape == (2, 84, 84)
    assert np.argwhere(there[0]).tolist() == [[40, 42], [40, 43], [41, 42], [41, 43]]
    assert not there[1].any()


def test_objects_whose_place_is_not_known_cover_nothing() -> None:
    ram = np.zeros((2, 128), np.uint8)
    assert boxes("bowling", ram) == {}
    assert not on_objects("bowling", ram).any()


def test_several_boxes_of_a_kind_and_those_that_reach_beyond_the_edge() -> None:
    there = covered(np.array([[[0, 0, 4, 5], [158, 205, 170, 220]], [[-1] * 4, [-3, -3, 2, 2]]]))
    assert np.argwhere(there[0]).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2],
                                              [82, 82], [82, 83], [83, 82], [83, 83]]  # fmt: skip
    assert np.argwhere(there[1]).tolist() == [[0, 0], [0, 1]]
