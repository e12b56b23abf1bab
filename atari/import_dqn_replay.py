"""Import DQN Replay into recordings, in bounded memory, or go on where that was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from fovea.atari.dqn_replay import (
    LONGEST,
    Checkpoint,
    Stretch,
    find_checkpoints,
    read_array,
    read_screens,
    segments,
    stretches,
)
from fovea.atari.emulator import Emulator, Settings
from fovea.atari.importing import check_folder, rows_of
from fovea.atari.origin import Origin, Policy
from fovea.atari.parquet import (
    SCREEN_BYTES,
    first_episode,
    read_shard,
    shard_path,
    shard_paths,
    write_shard,
)
from fovea.atari.recordings import Dataset, seal
from fovea.atari.remote import open_source
from fovea.command import UserError, terminable
from fovea.files import exclusive
from fovea.progress import bar

SHARD_STEPS = 5000
SHARDS_PER_CHECKPOINT = 1000


def import_dqn_replay(
    source: str,
    out: str | Path,
    *,
    games: Sequence[str] | None = None,
    runs: Sequence[int] | None = None,
    checkpoints: Sequence[int] | None = None,
    rows: int | None = None,
    shard_steps: int = SHARD_STEPS,
    longest: int = LONGEST,
) -> list[Dataset]:
    """Import checkpoints of DQN Replay, or go on where that was interrupted.

    Padding is left out, and so is the episode that a file begins in the middle of; the one that a
    file ends in is cut short. Each checkpoint is a policy of the recording. At most two shards are
    in memory.

    Args:
        source: folder, or an address of fsspec such as gs://atari-replay-datasets/dqn/Pong.
        out: folder; each game gets a folder in it.
        games: see `games.find`; all that are there.
        runs: 1 to 5; all that are there.
        checkpoints: 0 to 50; all that are there.
        rows: of each file at most, from its beginning; less is unpacked then, but the row that
            stands last in a file and was the first is not read.
        shard_steps: steps per shard, at least; the last shard of a checkpoint may have fewer.
        longest: steps after which episodes were cut.

    Returns a Dataset for each game. Raises UserError where a file is missing, damaged or of another
    layout, and for a folder with other recordings.
    """
    files, root = open_source(source)
    found = find_checkpoints(files, root, games, runs, checkpoints)
    out = Path(out)
    datasets = []
    with exclusive(out), terminable(), bar("import", "checkpoints", len(found)) as shown:
        for game, group in groupby(found, lambda checkpoint: checkpoint.game):
            mine = list(group)
            origin = origin_of(game, mine, rows, shard_steps)
            folder = out / game
            check_folder(folder, origin)
            for checkpoint in mine:
                before = any(c[:3] == (game, checkpoint.run, checkpoint.number - 1) for c in mine)
                _import(files, checkpoint, before, folder, origin, longest)
                shown.update()
            paths = shard_paths(folder)
            if not paths:
                raise UserError(
                    f"no whole episode of {game} in {rows} rows of a file: give more --rows"
                )
            datasets.append(seal(folder, map(read_shard, paths)))
    return datasets


def origin_of(
    game: str, checkpoints: Iterable[Checkpoint], rows: int | None, shard_steps: int
) -> Origin:
    """Where a game's recording comes from."""
    settings = Settings(sticky=0.25, noop_max=1, max_frames=4 * LONGEST)
    return Origin(
        game=game,
        rom_md5="unknown, of atari-py 0.2.5 or older",
        settings={**asdict(settings), "shard_steps": shard_steps, "rows": rows or "all"},
        actions=Emulator(game, settings, 0).actions,
        policy="agents: as the column policy says, and the policies here",
        seed=0,
        versions={},
        policies=[
            Policy(
                name=policy_name(each),
                agent="DQN",
                run=f"run {each.run}",
                checkpoint=f"checkpoint {each.number}",
                sha256="",
                trained=1_000_000 * each.number,
                epsilon=0.01,
                protocol="DQN Replay: sticky actions 0.25, rewards clipped to -1, 0 and 1",
                settings={},
            )
            for each in checkpoints
        ],
        source="DQN Replay",
    )


def policy_name(checkpoint: Checkpoint) -> str:
    return f"dqn_replay/{checkpoint.run}@{checkpoint.number}"


def _import(
    files: Any,
    checkpoint: Checkpoint,
    before: bool,
    folder: Path,
    origin: Origin,
    longest: int,
) -> None:
    """Write the shards of a checkpoint that are not there yet."""
    columns = {
        kind: read_array(files, checkpoint.files[kind]) for kind in ("action", "reward", "terminal")
    }
    _check_columns(checkpoint, columns, len(origin.actions))
    capacity = len(columns["terminal"])
    counted = checkpoint.files.get("add_count")
    add_count = int(read_array(files, counted)) if counted else None
    most = origin.settings["rows"]
    parts = segments(
        capacity, checkpoint.number, add_count, before, None if most == "all" else most
    )
    found = [
        each for part in parts for each in stretches(columns["terminal"], *part, longest=longest)
    ]
    found.sort(key=lambda stretch: stretch.rows.max())  # in the order in which they are complete
    shards = _into_shards(found, origin.settings["shard_steps"])
    if len(shards) > SHARDS_PER_CHECKPOINT:
        raise UserError(
            f"{checkpoint.name} makes {len(shards)} shards, more than {SHARDS_PER_CHECKPOINT}: "
            "give more --shard-steps"
        )
    first = (100 * checkpoint.run + checkpoint.number) * SHARDS_PER_CHECKPOINT
    missing = {
        first + number: shard
        for number, shard in enumerate(shards)
        if rows_of(shard_path(folder, first + number)) != sum(len(each.rows) for each in shard)
    }
    if not missing:
        return
    padding = _padding(columns, parts, found)
    path = checkpoint.files["observation"]
    rows = 1 + max(int(each.rows.max()) for shard in missing.values() for each in shard)
    with bar(checkpoint.name, "rows", rows, inner=True) as shown:
        screens_read = _counted(read_screens(files, path, capacity, rows), shown.update)
        for index, shard, screens in _gather(path, screens_read, missing, padding):
            write_shard(
                shard_path(folder, index),
                _columns(shard, screens, columns, first_episode(origin, index))
                | {"policy": np.full(len(screens), policy_name(checkpoint), object)},
                origin,
            )


def _counted(
    screens: Iterator[tuple[int, np.ndarray]], read: Callable[[int], object]
) -> Iterator[tuple[int, np.ndarray]]:
    """The same, while `read` is called with how many there were."""
    for begin, some in screens:
        yield begin, some
        read(len(some))


def _check_columns(checkpoint: Checkpoint, columns: dict[str, np.ndarray], actions: int) -> None:
    """Raises UserError where they do not fit together."""
    shapes = {kind: values.shape for kind, values in columns.items()}
    if len(set(shapes.values())) > 1 or columns["terminal"].ndim != 1:
        raise UserError(f"the files of {checkpoint.name} do not fit together: {shapes}")
    if (largest := columns["action"].max()) >= actions:
        raise UserError(
            f"{checkpoint.name} has action {largest}, and its game {actions} actions: name the "
            "game whose files these are"
        )


def _padding(
    columns: dict[str, np.ndarray], parts: list[tuple[list[range], bool]], found: list[Stretch]
) -> np.ndarray:
    """(N,) bool, the rows between two episodes, which hold nothing."""
    belongs = np.zeros(len(columns["terminal"]), bool)
    for stretch in found:
        belongs[stretch.rows] = True
    padding = np.zeros_like(belongs)
    for rows, _ in parts:
        order = np.concatenate([np.arange(part.start, part.stop) for part in rows])
        mine = np.flatnonzero(belongs[order])
        if len(mine):
            padding[order[mine[0] :]] = True
    return padding & ~belongs


def _into_shards(found: list[Stretch], steps: int) -> list[list[Stretch]]:
    """Consecutive episodes, with at least `steps` steps in each shard but the last."""
    shards: list[list[Stretch]] = []
    for stretch in found:
        if not shards or sum(len(each.rows) for each in shards[-1]) >= steps:
            shards.append([])
        shards[-1].append(stretch)
    return shards


def _gather(
    path: str,
    screens_read: Iterator[tuple[int, np.ndarray]],
    shards: dict[int, list[Stretch]],
    padding: np.ndarray,
) -> Iterator[tuple[int, list[Stretch], np.ndarray]]:
    """Each shard with its screens (rows, 84 * 84) uint8, as soon as they are read.

    Shards are in the order in which they are complete; what is read belongs to the one that is
    being filled, or to the one episode that goes on from the end of the file at its beginning.
    """
    shard_of = np.full(len(padding), -1)
    place = np.zeros(len(padding), np.int64)
    for index, shard in shards.items():
        rows = np.concatenate([stretch.rows for stretch in shard])
        shard_of[rows], place[rows] = index, np.arange(len(rows))
    waiting = {
        index: max(int(stretch.rows.max()) for stretch in shard) for index, shard in shards.items()
    }
    filled: dict[int, np.ndarray] = {}
    for begin, screens in screens_read:
        here = slice(begin, begin + len(screens))
        if screens[padding[here]].any():
            raise UserError(f"{path} has screens where its terminals leave none: is it complete?")
        for index in np.unique(shard_of[here]).tolist():
            if index >= 0:
                mine = np.flatnonzero(shard_of[here] == index)
                if index not in filled:
                    count = sum(len(stretch.rows) for stretch in shards[index])
                    filled[index] = np.empty((count, SCREEN_BYTES), np.uint8)
                filled[index][place[here][mine]] = screens[mine]
        for index in [index for index, last in waiting.items() if last < here.stop]:
            del waiting[index]
            yield index, shards[index], filled.pop(index)


def _columns(
    shard: list[Stretch], screens: np.ndarray, columns: dict[str, np.ndarray], first: int
) -> dict[str, np.ndarray]:
    """The columns of a recording, of the episodes of a shard."""
    rows = np.concatenate([stretch.rows for stretch in shard])
    lengths = [len(stretch.rows) for stretch in shard]
    last = np.cumsum(lengths) - 1
    truncated = np.zeros(len(rows), bool)
    truncated[last] = [not stretch.over for stretch in shard]
    return {
        "screen": screens,
        "action": columns["action"][rows].astype(np.uint8),
        "reward": columns["reward"][rows].astype(np.int32),
        "terminal": columns["terminal"][rows].astype(bool),
        "truncated": truncated,
        "episode": np.repeat(first + np.arange(len(shard)), lengths),
        "step": np.concatenate([np.arange(length) for length in lengths]),
    }
