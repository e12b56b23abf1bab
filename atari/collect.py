"""Play games in parallel processes and record them, shard by shard."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from importlib.metadata import version
from multiprocessing import connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fovea.atari import recordings
from fovea.atari.emulator import Emulator, Settings, rom_path
from fovea.atari.games import find
from fovea.atari.recordings import EPISODES_PER_SHARD, Damaged, Dataset, Origin
from fovea.command import UserError
from fovea.files import exclusive
from fovea.progress import bar

SHARD_STEPS = 5000
ALE_V5 = Settings()


def origin(game: str, settings: Settings, seed: int, shard_steps: int = SHARD_STEPS) -> Origin:
    """Everything that determines the shards of a recording of `game`."""
    rom_id = find(game).rom_id
    return Origin(
        game=rom_id,
        rom_md5=hashlib.md5(rom_path(rom_id).read_bytes()).hexdigest(),
        settings={**asdict(settings), "shard_steps": shard_steps},
        actions=Emulator(rom_id, settings, 0).actions,
        policy="random: uniform over the minimal action set",
        seed=seed,
        versions={name: version(name) for name in ("ale-py", "numpy", "opencv-python-headless")},
    )


def record(
    origin: Origin, index: int, played: Callable[[int], None] = lambda steps: None
) -> dict[str, np.ndarray]:
    """The rows of shard `index`: whole episodes, at least `shard_steps` steps of them.

    They depend on `origin` and `index` alone. `played` is called with 100 after every 100 steps.
    """
    settings = dict(origin.settings)
    shard_steps = settings.pop("shard_steps")
    rng = np.random.default_rng([origin.seed, index, zlib.crc32(origin.game.encode())])
    emulator = Emulator(origin.game, Settings(**settings), seed=int(rng.integers(2**31)))
    rows: list[tuple] = []
    episode = index * EPISODES_PER_SHARD
    while len(rows) < shard_steps:
        emulator.reset(noops=int(rng.integers(max(1, settings["noop_max"]))))
        over, step = False, 0
        while not over:
            seen = emulator.screen, emulator.ram, emulator.lives
            action = int(rng.integers(len(origin.actions)))
            reward, terminal, truncated = emulator.step(action)
            over = terminal or truncated
            rows.append((*seen, action, reward, terminal, truncated, episode, step))
            step += 1
            if len(rows) % 100 == 0:
                played(100)
        episode += 1
    names = "screen", "ram", "lives", "action", "reward", "terminal", "truncated", "episode", "step"
    return {
        name: np.stack(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }


def collect(
    games: list[str],
    out: str | Path,
    *,
    steps: int,
    seed: int = 0,
    settings: Settings = ALE_V5,
    shard_steps: int = SHARD_STEPS,
    workers: int | None = None,
) -> list[Dataset]:
    """Record at least `steps` agent steps of each game, or go on where that was interrupted.

    Complete shards are kept, so that a kill loses at most one shard of each worker.

    Args:
        games: see `games.find`.
        out: folder; each game gets a folder of its own in it.
        steps: agent steps per game; the last episode of a shard is played to its end.
        seed: of the games and the policy.
        settings: how the games are played.
        shard_steps: agent steps per shard, at least.
        workers: processes, by default one per core; what is recorded does not depend on it.

    Returns a Dataset for each game. Raises UserError for an unknown game, a folder in use, or a
    recording that was made with other settings.
    """
    out, shards = Path(out), math.ceil(steps / shard_steps)
    workers = workers or len(os.sched_getaffinity(0))
    origins = [origin(game, settings, seed, shard_steps) for game in dict.fromkeys(games)]
    with exclusive(out):
        missing = [
            (made_by, out / made_by.game, index)
            for made_by in origins
            for index in _missing(made_by, out / made_by.game, shards)
        ]
        if missing:
            _play(missing, workers)
        return [_finish(out / made_by.game) for made_by in origins]


def _missing(made_by: Origin, folder: Path, shards: int) -> list[int]:
    """The shards that are still to be recorded. Prints what is kept and what is damaged."""
    for left in folder.glob(".*.tmp"):  # by a kill while a shard was written
        left.unlink()
    there, kept, sealed = recordings.shard_paths(folder), [], _sealed(folder)
    for path in there:
        try:
            shard = recordings.read_shard(path)
            recordings.check_rows(shard)
            if sealed.get(path.name, shard.sha256) != shard.sha256:
                raise Damaged("its SHA-256 is not the one that was recorded")
        except Damaged as damage:
            _say(f"{path}: {damage}; it is recorded again")
            continue
        if difference := made_by.difference(shard.origin):
            name, wanted, found = difference
            raise UserError(
                f"{path} was recorded with {name} {found}, not {wanted}: "
                f"give another --out, or {name} {found}"
            )
        kept.append(recordings.shard_index(path))
    shards = max([shards, *(recordings.shard_index(path) + 1 for path in there)])
    missing = [index for index in range(shards) if index not in kept]
    if kept:
        _say(f"{made_by.game}: {len(kept)} shards are complete, {len(missing)} to record")
    return missing


def _sealed(folder: Path) -> dict[str, str]:
    """The SHA-256 of each shard by its file's name, as far as dataset.json can be read."""
    try:
        return {shard["file"]: shard["sha256"] for shard in recordings.open_dataset(folder).shards}
    except UserError:
        return {}


def _finish(folder: Path) -> Dataset:
    return recordings.seal(
        folder, [recordings.read_shard(p) for p in recordings.shard_paths(folder)]
    )


def _play(missing: list[tuple[Origin, Path, int]], workers: int) -> None:
    """Record shards in `workers` processes, with a progress bar of agent steps."""
    spawn = multiprocessing.get_context("spawn")  # as safe after torch as before it
    counter = spawn.Value("q", 0)
    total = sum(made_by.settings["shard_steps"] for made_by, _, _ in missing)
    pool = ProcessPoolExecutor(min(workers, len(missing)), spawn, _begin_worker, (counter,))
    with bar("record", "steps", total) as shown:
        try:
            pending = {pool.submit(_record_shard, *shard) for shard in missing}
            while pending:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                _advance(shown, counter.value)
                for future in done:
                    shown.set_description(future.result(), refresh=False)
            _advance(shown, counter.value)
        except BrokenProcessPool:
            raise UserError(
                "a recording process was killed, most often because memory ran out: "
                "free some or use fewer --workers, and run the same command again"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _advance(shown: tqdm, played: int) -> None:
    shown.total = max(shown.total, played)  # the last episode of a shard is played to its end
    shown.update(played - shown.n)


_counter: Synchronized[int]  # in a worker: the steps that all workers have played


def _begin_worker(counter: Synchronized[int]) -> None:
    """Make this process end when its parent ends, in whatever way, and leave Ctrl-C to it."""
    global _counter
    _counter = counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        connection.wait([parent.sentinel])
        os._exit(1)


def _played(steps: int) -> None:
    with _counter.get_lock():
        _counter.value += steps


def _record_shard(made_by: Origin, folder: Path, index: int) -> str:
    rows = record(made_by, index, _played)
    recordings.write_shard(recordings.shard_path(folder, index), rows, made_by)
    return f"{made_by.game} shard {index}"


def _say(line: str) -> None:
    print(line, file=sys.stderr)
