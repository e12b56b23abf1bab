"""Record shards in parallel processes, or go on where that was interrupted."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import connection
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from fovea.atari import parquet, recordings
from fovea.atari.origin import Origin
from fovea.atari.parquet import Damaged
from fovea.atari.recordings import Dataset
from fovea.command import ENDING, UserError, terminable, undisturbed
from fovea.files import exclusive
from fovea.progress import bar

Play = Callable[[Origin, int, Callable[[int], None]], dict[str, np.ndarray]]
"""Plays a shard: its columns, a function of its origin and its index alone.

It is called in other processes, so that it must be a function of a module, or a `partial` of one.
Its last argument is to be called now and then with the steps played since it was called last.
"""


GRACE = 1.0
"""Seconds in which workers may leave their shards before they are killed, which loses no more."""

Sealed = Callable[[Path], object]
"""Called with the path of each shard that is complete."""


def record_shards(
    origins: list[Origin],
    out: str | Path,
    steps: int,
    play: Play,
    workers: int | None = None,
    ray: str | None = None,
) -> list[Dataset]:
    """Record at least `steps` agent steps of each origin, or go on where that was interrupted.

    Complete shards are kept, so that a kill loses at most one shard of each worker. After Ctrl-C or
    SIGTERM the workers end within a second or so. What an older version began goes on in its
    format.

    Args:
        origins: one for each game; their settings say `shard_steps`.
        out: folder, or an address of fsspec; each game gets a folder of its own in it.
        steps: agent steps per game, at least.
        play: makes the rows of a shard.
        workers: processes, by default one per core; what is recorded does not depend on it.
        ray: address of a Ray cluster whose tasks play in place of processes, see
            `fovea.cluster.connected`.

    Returns a Dataset for each origin. Raises UserError for a folder in use, or a recording of
    another origin.
    """
    if recordings.is_address(out):
        from fovea.atari.remote import Target, fetch

        folder = fetch(str(out), unfinished=True)
        target = Target(str(out), folder)
        made = _record(origins, folder, steps, play, workers, ray, target.send)
        for each in origins:
            target.finish(folder / each.game)
        return made
    return _record(origins, Path(out), steps, play, workers, ray, lambda path: None)


def _record(
    origins: list[Origin],
    out: Path,
    steps: int,
    play: Play,
    workers: int | None,
    ray: str | None,
    sealed: Sealed,
) -> list[Dataset]:
    """Record into a folder of this machine."""
    with exclusive(out), terminable():
        missing = [
            (made_by, out / made_by.game, index)
            for made_by in (_as_begun(each, out / each.game) for each in origins)
            for index in _missing(
                made_by, out / made_by.game, math.ceil(steps / made_by.settings["shard_steps"])
            )
        ]
        if missing and ray:
            from fovea.atari.recorder_ray import play_on_ray

            play_on_ray(missing, play, ray, workers, sealed)
        elif missing:
            _play(missing, play, workers or len(os.sched_getaffinity(0)), sealed)
        return [_finish(out / made_by.game) for made_by in origins]


def _as_begun(made_by: Origin, folder: Path) -> Origin:
    """The origin in the format of the shards that are there, so that new ones fit to them."""
    for path in parquet.shard_paths(folder):
        try:
            return replace(made_by, format=parquet.read_columns(path, []).origin.format)
        except Damaged:
            continue
    return made_by


def _missing(made_by: Origin, folder: Path, shards: int) -> list[int]:
    """The shards that are still to be recorded. Prints what is kept and what is damaged."""
    for left in folder.glob(".*.tmp"):  # by a kill while a shard was written
        left.unlink()
    there, kept, sealed = parquet.shard_paths(folder), [], _sealed(folder)
    for path in there:
        try:
            shard = parquet.read_shard(path)
            parquet.check_rows(shard)
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
        kept.append(parquet.shard_index(path))
    shards = max([shards, *(parquet.shard_index(path) + 1 for path in there)])
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
    return recordings.seal(folder, map(parquet.read_shard, parquet.shard_paths(folder)))


def _play(
    missing: list[tuple[Origin, Path, int]], play: Play, workers: int, sealed: Sealed
) -> None:
    """Record shards in `workers` processes, with a progress bar of agent steps."""
    spawn = multiprocessing.get_context("spawn")  # as safe after torch as before it
    counter, stop = spawn.Value("q", 0), spawn.Event()
    total = sum(made_by.settings["shard_steps"] for made_by, _, _ in missing)
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(min(workers, len(missing)), spawn, _begin_worker, (counter, stop))
    pending: dict[Future[int], tuple[Origin, Path, int]] = {}
    rows = asked = 0  # of the shards that are complete
    with bar("record", "steps", total) as shown:
        try:
            with undisturbed():
                for shard in missing:
                    pending[pool.submit(_record_shard, play, *shard)] = shard
            while pending:
                done, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    made_by, folder, index = pending.pop(future)
                    rows, asked = rows + future.result(), asked + made_by.settings["shard_steps"]
                    shown.set_description(f"{made_by.game} shard {index}", refresh=False)
                    sealed(parquet.shard_path(folder, index))
                # Episodes are played to their end: shards are longer than they were asked to be.
                expected = total * rows // asked if asked else total
                shown.total = max(expected, counter.value)
                shown.update(counter.value - shown.n)
            shown.total = rows
            shown.update(rows - shown.n)
        except BrokenProcessPool:
            raise UserError(
                "a recording process was killed, most often because memory ran out: "
                "free some or use fewer --workers, and run the same command again"
            ) from None
        except BaseException:
            stop.set()
            wait(pending, timeout=GRACE)
            for worker in multiprocessing.active_children():
                if worker not in others:  # it loads what it plays with, which can take long
                    worker.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


_counter: Synchronized[int]  # in a worker: the steps that all workers have played
_stop: Event  # in a worker: whether to leave the shard that it plays


class Stopped(Exception):
    """The command was interrupted while a shard was played."""


def _begin_worker(counter: Synchronized[int], stop: Event) -> None:
    """Make this process end when its parent ends, in whatever way, and leave signals to it."""
    global _counter, _stop
    _counter, _stop = counter, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        connection.wait([parent.sentinel])
        os._exit(1)


def _played(steps: int) -> None:
    if _stop.is_set():
        raise Stopped
    with _counter.get_lock():
        _counter.value += steps


def _record_shard(play: Play, made_by: Origin, folder: Path, index: int) -> int:
    """Play and write a shard; its rows."""
    rows = play(made_by, index, _played)
    parquet.write_shard(parquet.shard_path(folder, index), rows, made_by)
    return len(rows["step"])


def _say(line: str) -> None:
    print(line, file=sys.stderr)
