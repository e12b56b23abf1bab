"""Import NumPy files, an episode each: what `fovea atari export` writes, or files of your own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from fovea.atari.emulator import Emulator, Settings
from fovea.atari.games import find
from fovea.atari.importing import SHARD_STEPS, check_folder, rows_of, screens, whole
from fovea.atari.origin import Origin, Policy
from fovea.atari.parquet import (
    RAM_BYTES,
    first_episode,
    read_shard,
    shard_path,
    shard_paths,
    write_shard,
)
from fovea.atari.recordings import Dataset, seal
from fovea.command import UserError, terminable
from fovea.files import exclusive
from fovea.progress import bar

NEEDED = "screen", "action", "reward"
UNKNOWN = "unknown"


def import_numpy(
    source: str | Path, out: str | Path, *, game: str | None = None, shard_steps: int = SHARD_STEPS
) -> list[Dataset]:
    """Import files, or go on where that was interrupted; one shard is in memory at a time.

    Args:
        source: folder whose .npz files, in folders below it too, are an episode each, in the order
            of their names. Arrays: screen (T, 84, 84) uint8 or another shape of
            `importing.SCREENS`, action and reward (T,), where there are any terminal and truncated
            (T,) bool, lives (T,) uint8 and ram (T, 128) uint8, and the words game and policy.
            Without terminal and truncated an episode counts as cut short. `action` counts in the
            game's own actions, as `fovea atari ls` shows them, or in all 18 where one needs more.
        out: folder; each game gets a folder in it.
        game: see `games.find`; of files that do not name theirs.
        shard_steps: steps per shard, at least.

    Raises UserError where there are no files, for one that is damaged or of other shapes, and for a
    folder with another recording.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(Path(source).rglob("*.npz"), key=lambda one: (len(one.name), str(one))):
        with _opened(path) as file:
            found.setdefault(_game(file, path, game), []).append(path)
    if not found:
        raise UserError(f"no .npz files in {source}: give a folder with one for each episode")
    with exclusive(out), terminable():
        return [_import(name, paths, Path(source), Path(out), shard_steps)
                for name, paths in found.items()]  # fmt: skip


def _import(game: str, paths: list[Path], source: Path, out: Path, shard_steps: int) -> Dataset:
    highest, names, lengths = 0, [], []
    for path in paths:
        with _opened(path) as file:
            highest = max(highest, int(file["action"].max(initial=0)))
            lengths.append(len(file["action"]))
            names.append(_word(file, "policy"))
    origin = _origin(game, highest, list(dict.fromkeys(names)), source, shard_steps)
    folder = out / game
    check_folder(folder, origin)
    with bar("import", "episodes", len(paths), delay=2) as shown:
        for index, numbers in enumerate(_shards(lengths, shard_steps)):
            path = shard_path(folder, index)
            if rows_of(path) is None:
                first = first_episode(origin, index)
                parts = [
                    _rows(paths[n], names[n], first + k, len(origin.actions))
                    for k, n in enumerate(numbers)
                ]
                write_shard(path, _joined(parts), origin)
            shown.update(len(numbers))
    return seal(folder, map(read_shard, shard_paths(folder)))


def _opened(path: Path) -> NpzFile:
    """A file with the arrays that are needed. Raises UserError."""
    try:
        file = np.load(path, allow_pickle=False)
        missing = [name for name in NEEDED if name not in file]
    except (ValueError, OSError, EOFError, BadZipFile):
        raise UserError(f"{path} is no NumPy file that can be read: write it anew") from None
    if missing:
        raise UserError(f"{path} has no array {missing[0]!r}: it needs {', '.join(NEEDED)}")
    return file


def _word(file: NpzFile, name: str) -> str:
    return str(file[name]) if name in file else UNKNOWN


def _game(file: NpzFile, path: Path, game: str | None) -> str:
    if "game" not in file and not game:
        raise UserError(f"{path} does not name its game: say --games GAME")
    return find(str(file["game"]) if "game" in file else str(game)).rom_id


def _origin(
    game: str, highest: int, policies: Sequence[str], source: Path, shard_steps: int
) -> Origin:
    settings = Settings()
    if highest >= len(Emulator(game, settings, 0).actions):
        settings = Settings(full_actions=True)
    return Origin(
        game=game,
        rom_md5=UNKNOWN,
        settings={**asdict(settings), "shard_steps": shard_steps},
        actions=Emulator(game, settings, 0).actions,
        policy="agents: as the column policy says",
        seed=0,
        versions={},
        screen="84x84 grey, as the files have them",
        policies=[
            Policy(
                name=name, agent=UNKNOWN, run=UNKNOWN, checkpoint=UNKNOWN, sha256="", trained=0,
                epsilon=0.0, protocol=UNKNOWN, settings={},
            )
            for name in policies
        ],
        source=f"NumPy: {source.resolve().name}",
    )  # fmt: skip


def _shards(lengths: Sequence[int], shard_steps: int) -> Iterator[list[int]]:
    """The numbers of the episodes of each shard."""
    some: list[int] = []
    steps = 0
    for number, length in enumerate(lengths):
        some.append(number)
        steps += length
        if steps >= shard_steps:
            yield some
            some, steps = [], 0
    if some:
        yield some


def _rows(path: Path, policy: str, episode: int, actions: int) -> dict[str, np.ndarray]:
    """The columns of a recording, of one episode. Raises UserError."""
    with _opened(path) as file:
        arrays = {name: file[name] for name in file}
    steps = len(arrays["action"])
    for name, shape in {
        "reward": (),
        "terminal": (),
        "truncated": (),
        "lives": (),
        "ram": (RAM_BYTES,),
    }.items():
        if name in arrays and arrays[name].shape != (steps, *shape):
            raise UserError(f"{path}: {name} is {arrays[name].shape}, not {(steps, *shape)}")
    if not steps or len(arrays["screen"]) != steps:
        raise UserError(
            f"{path} has {len(arrays['screen'])} screens for {steps} actions: give each its action"
        )
    if not 0 <= arrays["action"].min() <= arrays["action"].max() < actions:
        raise UserError(
            f"{path} has an action that is not in 0 to {actions - 1}: see `fovea atari ls`"
        )
    none = np.zeros(steps, bool)
    terminal, truncated = (
        np.array(arrays.get(name, none), bool) for name in ("terminal", "truncated")
    )
    truncated[-1] |= not terminal[-1]
    if (terminal | truncated)[:-1].any():
        raise UserError(f"{path} goes on after the end of its episode: write a file for each")
    return {
        "screen": screens(arrays["screen"]),
        "action": arrays["action"].astype(np.uint8),
        "reward": whole(arrays["reward"], str(path)),
        "terminal": terminal,
        "truncated": truncated,
        "episode": np.full(steps, episode),
        "step": np.arange(steps, dtype=np.int32),
        "policy": np.full(steps, policy, object),
    } | {name: arrays[name].astype(np.uint8) for name in ("lives", "ram") if name in arrays}


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns one after the other; those that not all have are left out."""
    common = set.intersection(*(set(part) for part in parts))
    return {
        name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name in common
    }
