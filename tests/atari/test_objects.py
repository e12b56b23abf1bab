"""Boxes of objects lie where the screen shows the objects."""

from __future__ import annotations

import numpy as np
import pytest
from ale_py import ALEInterface

from fovea.atari.emulator import rom_path
from fovea.atari.objects import objects, on_objects

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
    inside: dict[str, list[float]] = {one.name: [] for one in objects(game)}
    assert inside
    for step in range(300):
        ale.act(actions[rng.integers(len(actions))])
        if step < 120 or step % 4:
            continue
        frame, ram = ale.getScreenRGB(), ale.getRAM()[None]
        for one in objects(game):
            ((left, top, right, bottom),) = one.boxes(ram)
            if left >= 0:
                box = frame[top:bottom, left:right]
                shown = (box == COLOURS[game, one.name]).all(-1).any((0, 1))
                inside[one.name].append(float(shown))
    assert all(len(found) > 10 for found in inside.values()), inside
    shares = {name: float(np.mean(found)) for name, found in inside.items()}
    assert min(shares.values()) > 0.95, shares


def test_boxes_by_hand() -> None:
    ram = np.zeros((2, 128), np.uint8)
    ram[:, 49], ram[0, 54] = 49 + 80, 14 + 100  # a ball at column 80, row 100; and none
    ball = {one.name: one for one in objects("pong")}["ball"]
    assert ball.boxes(ram).tolist() == [[80, 100, 82, 104], [-1, -1, -1, -1]]
    covered = on_objects("pong", ram)
    assert covered.shape == (2, 84, 84)
    assert np.argwhere(covered[0]).tolist() == [[40, 42], [40, 43], [41, 42], [41, 43]]
    assert not covered[1].any()
    assert objects("seaquest") == []
