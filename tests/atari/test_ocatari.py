"""OCAtari's rules, of the memory of one frame, find what OCAtari sees on the frame."""

from __future__ import annotations

import numpy as np
import pytest
from ale_py import ALEInterface

from fovea.atari.emulator import rom_path
from fovea.atari.games import find
from fovea.atari.objects import boxes, on_objects
from fovea.atari.ocatari import TRUSTED

pytest.importorskip("ocatari", reason="OCAtari's rules: see fovea.atari.ocatari")

pytestmark = pytest.mark.evidence


def frames_and_memory(game: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 210, 160, 3) and (N, 128) uint8 of every tenth frame of random play."""
    ale = ALEInterface()
    ale.setInt("random_seed", 3)
    ale.loadROM(rom_path(game))
    actions, rng = ale.getMinimalActionSet(), np.random.default_rng(0)
    frames, memory = [], []
    for step in range(300 + 10 * number):
        if ale.game_over():
            ale.reset_game()
        ale.act(actions[rng.integers(len(actions))])
        if step >= 300 and step % 10 == 0:
            frames.append(ale.getScreenRGB())
            memory.append(ale.getRAM())
    return np.stack(frames), np.stack(memory)


def overlap(box: np.ndarray, others: np.ndarray) -> float:
    """The largest intersection over union of a box (4,) with others (K, 4)."""
    shared = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    area = np.clip(shared, 0, None).prod(1)
    sizes = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1)
    return float((area / (sizes - area)).max(initial=0))


@pytest.mark.parametrize("game", TRUSTED)
def test_boxes_are_where_the_screen_shows_objects(game: str) -> None:
    from ocatari.ram.extract_ram_info import init_objects
    from ocatari.vision.extract_vision_info import detect_objects_vision

    frames, memory = frames_and_memory(game, 250)
    by_rules, name = boxes(game, memory), find(game).name
    assert by_rules.keys() == set(TRUSTED[game])
    found: dict[str, list[bool]] = {kind: [] for kind in by_rules}
    there: dict[str, list[bool]] = {kind: [] for kind in by_rules}
    for index, frame in enumerate(frames):
        seen = init_objects(name, hud=False, vision=True)
        detect_objects_vision(seen, frame, name, hud=False)
        for kind, places in by_rules.items():
            rules = places[index][places[index].min(-1) >= 0]
            shown = np.array([one.xywh for one in seen if one and one.category == kind])
            shown = shown.reshape(-1, 4).astype(int)
            shown[:, 2:] += shown[:, :2]
            found[kind] += [overlap(box, rules) > 0.5 for box in shown]
            there[kind] += [overlap(box, shown) > 0.5 for box in rules]
    assert min(map(np.mean, found.values())) > 0.7
    assert min(map(np.mean, there.values())) > 0.55
    assert np.mean([one for kind in found.values() for one in kind]) > 0.9


def test_a_probe_gets_pixels_on_objects() -> None:
    _, memory = frames_and_memory("ms_pacman", 20)
    share = on_objects("ms_pacman", memory).mean((1, 2))
    assert share.min() > 0.005
    assert share.max() < 0.1
