"""Import NumPy files, an episode each: what `fovea atari export` writes, or files of your own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fovea.atari.emulator import Emulator, Settings
from fovea.atari.games import find
from fovea.atari.importing import SHARD_STEPS, import_episodes, screens, shards_of, whole
from fovea.atari.origin import UNKNOWN, Origin, Policy, unknown_settings
from fovea.atari.parquet import RAM_BYTES
from fovea.atari.recordings import Dataset, numpy_files
from fovea.command import UserError, terminable
from fovea.files import exclusive
from fovea.npz import npz_names, read_npz

NEEDED = "screen", "action", "reward"
SHAPES = {
    "action": (), "reward": (), "terminal": (), "truncated": (), "lives": (), "ram": (RAM_BYTES,),
}  # fmt: skip
"""What each step has, beside its screen."""
MOST = {"terminal": 1, "truncated": 1, "lives": 255, "ram": 255}
"""The largest number that they hold."""
WORDS = "game", "policy"


def import_numpy(
    source: str | Path, out: str | Path, *, game: str | None = None, shard_steps: int = SHARD_STEPS
) -> list[Dataset]:
    """Import files, or go on where that was interrupted; one shard is in memory at a time.

    Args:
        source: a .npz file of an episode, or a folder with one for each, in folders and links
            below it too, each once, in the order of their names. Arrays: screen (T, 84, 84) uint8
            or another shape of `importing.SCREENS`, action and reward (T,), where there are any
            terminal and truncated (T,) bool, lives (T,) uint8 and ram (T, 128) uint8, and the words
            game and policy. Without terminal and truncated an episode counts as cut short. `action`
            counts in the game's own actions, as `fovea atari ls` shows them, or in all 18 where one
            needs more.
        out: folder; each game gets a folder in it.
        game: see `games.find`; of files that do not name theirs.
        shard_steps: steps per shard, at least.

    Files do not say how the game was played: its settings are unknown (see `origin.UNKNOWN`).

    Raises UserError where there are no files, for one that is damaged or of other shapes, and for a
    folder with another recording.
    """
    found: dict[str, list[File]] = {}
    for path in sorted(numpy_files(source), key=lambda one: (len(one.name), str(one))):
        file = _looked_at(path, game)
        found.setdefault(file.game, []).append(file)
    if not found:
        raise UserError(f"no .npz files in {source}: give a folder with one for each episode")
    with exclusive(out), terminable():
        return [_import(files, Path(source), Path(out), shard_steps) for files in found.values()]


class File(NamedTuple):
    """An episode, and what has to be known of all before the first can be written."""

    path: Path
    game: str
    policy: str
    steps: int
    highest: int
    """The largest number of an action."""


def _looked_at(path: Path, game: str | None) -> File:
    found = _read(path, ["action", *WORDS])
    words = {name: str(found[name]) for name in WORDS if name in found}
    actions = found["action"]
    if actions.ndim != 1:
        raise UserError(f"{path}: action is {actions.shape}: give a number for each screen")
    if not (name := words.get("game", game)):
        raise UserError(f"{path} does not name its game: say --games GAME")
    _check_whole(actions, 255, f"{path}: action")
    highest = int(actions.max(initial=0))
    return File(path, find(name).rom_id, words.get("policy", UNKNOWN), len(actions), highest)


def _import(files: list[File], source: Path, out: Path, shard_steps: int) -> Dataset:
    origin = _origin(files, source, shard_steps)

    def rows(number: int, episode: int) -> dict[str, np.ndarray]:
        return _rows(files[number], episode, len(origin.actions))

    shards = enumerate(shards_of([file.steps for file in files], shard_steps))
    return import_episodes(out / origin.game, origin, shards, rows, len(files))


def _read(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of these names that a file holds. Raises UserError."""
    try:
        missing = [name for name in NEEDED if name not in npz_names(path)]
        found = {} if missing else read_npz(path, names)
    except ValueError as fault:
        raise UserError(
            f"{path} is damaged, or no NumPy file of numbers ({fault}): write it anew, with "
            "np.savez"
        ) from None
    if missing:
        raise UserError(f"{path} has no array {missing[0]!r}: it needs {', '.join(NEEDED)}")
    return found


def _origin(files: list[File], source: Path, shard_steps: int) -> Origin:
    game = files[0].game
    actions = Emulator(game, Settings(), 0).actions
    if max(file.highest for file in files) >= len(actions):
        actions = Emulator(game, Settings(full_actions=True), 0).actions
    return Origin(
        game=game,
        rom_md5=UNKNOWN,
        settings={**unknown_settings(), "shard_steps": shard_steps},
        actions=actions,
        policy="agents: as the column policy says",
        seed=0,
        versions={},
        screen="84x84 grey, as the files have them",
        policies=[
            Policy(
                name=name, agent=UNKNOWN, run=UNKNOWN, checkpoint=UNKNOWN, sha256="", trained=0,
                epsilon=0.0, protocol=UNKNOWN, settings={},
            )
            for name in dict.fromkeys(file.policy for file in files)
        ],
        source=f"NumPy: {source.resolve().name}",
    )  # fmt: skip


def _rows(of: File, episode: int, actions: int) -> dict[str, np.ndarray]:
    """The columns of a recording, of one episode. Raises UserError."""
    path = of.path
    arrays = _read(path, [*NEEDED, *SHAPES])
    steps = len(arrays["screen"]) if arrays["screen"].ndim else 0
    if not steps:
        raise UserError(f"{path} has no screens: leave it out")
    for name, shape in SHAPES.items():
        if name in arrays and arrays[name].shape != (steps, *shape):
            raise UserError(
                f"{path}: {name} is {arrays[name].shape}, not {(steps, *shape)}: it has "
                f"{steps} screens"
            )
    for name, most in (MOST | {"action": actions - 1}).items():
        if name in arrays:
            _check_whole(arrays[name], most, f"{path}: {name}")
    none = np.zeros(steps, bool)
    terminal, truncated = (
        np.array(arrays.get(name, none), bool) for name in ("terminal", "truncated")
    )
    truncated[-1] |= not terminal[-1]
    if (terminal | truncated)[:-1].any():
        raise UserError(f"{path} goes on after the end of its episode: write a file for each")
    return {
        "screen": screens(arrays["screen"], str(path)),
        "action": arrays["action"].astype(np.uint8),
        "reward": whole(arrays["reward"], str(path)),
        "terminal": terminal,
        "truncated": truncated,
        "episode": np.full(steps, episode),
        "step": np.arange(steps, dtype=np.int32),
        "policy": np.full(steps, of.policy, object),
    } | {name: arrays[name].astype(np.uint8) for name in ("lives", "ram") if name in arrays}


def _check_whole(values: np.ndarray, most: int, what: str) -> None:
    """Raise UserError, with one of them, where values are not whole numbers from 0 to `most`."""
    numbers = values.dtype.kind in "biuf"
    with np.errstate(invalid="ignore"):  # of what is infinite
        odd = values if not numbers else values[(values % 1 != 0) | (values < 0) | (values > most)]
    if odd.size:
        raise UserError(
            f"{what} has {odd.flat[0]}: it holds whole numbers from 0 to {most} (`fovea atari ls` "
            "shows a game's actions)"
        )
