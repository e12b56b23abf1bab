"""Boxes of objects by OCAtari's rules (Delfosse et al. 2024, arXiv 2306.08649), where it is there.

OCAtari pins versions of NumPy that Fovea does without, and its rules work with newer ones where the
memory is handed over as int64: `pip install 'fovea-rl[ocatari]'` installs what it imports, then
`pip install --no-deps ocatari` its rules. Without it these games have no boxes.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import numpy as np

TRUSTED = {
    "berzerk": ("Player", "Enemy", "EnemyMissile"),
    "kangaroo": ("Player", "Child", "FallingCoconut", "Fruit", "Bell"),
    "ms_pacman": ("Player", "Ghost"),
    "seaquest": ("Player", "Shark", "Diver", "PlayerMissile"),
    "space_invaders": ("Player", "Alien"),
    "up_n_down": ("Player", "Truck"),
    "video_pinball": ("Ball", "Flipper", "Spinner"),
}
"""The objects whose boxes are trusted, by game; scenery, which never changes, is not among them.

In 250 frames of random play (ale-py 0.12.1, OCAtari 2.2.1) the rules, given the memory of one frame
alone, find at least 7 of 10 of each that OCAtari sees on the frame, and 9 of 10 of all
(tests/atari/test_ocatari.py). Of what they find some is not to be seen at that moment: sprites
flicker. The rules of other games miss more, want the frames before, or fail.
"""


def has_rules(game: str) -> bool:
    """Whether a game, by its `rom_id`, is trusted and OCAtari is installed."""
    return game in TRUSTED and find_spec("ocatari") is not None


def boxes_by_rules(game: str, name: str, ram: np.ndarray) -> dict[str, np.ndarray]:
    """{object: (N, K, 4) int64 left, top, right, bottom}, at most K at once; -1 where fewer are.

    Args:
        game: one of TRUSTED.
        name: of it in environment ids, `games.Game.name`.
        ram: (N, 128) uint8.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    from ocatari.ram.extract_ram_info import detect_objects_ram, init_objects

    found: dict[str, list[list[tuple]]] = {kind: [] for kind in TRUSTED[game]}
    for memory in np.asarray(ram, np.int64):  # bytes would overflow in the rules' sums
        objects = init_objects(name, hud=False)
        for _ in range(2):  # some rules place what is there by then
            detect_objects_ram(objects, memory, name, hud=False)
        for kind, screens in found.items():
            screens.append([one.xywh for one in objects if one and one.category == kind])
    return {kind: _padded(screens) for kind, screens in found.items()}


def _padded(screens: list[list[tuple]]) -> np.ndarray:
    """(N, K, 4) of lists of left, top, width and height."""
    boxes = np.full((len(screens), max(map(len, screens), default=0), 4), -1)
    for row, screen in zip(boxes, screens, strict=True):
        for box, (left, top, width, height) in zip(row, screen, strict=False):
            box[:] = left, top, left + width, top + height
    return boxes
