"""Record shards in tasks of Ray: machines play, and this process alone writes."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from concurrent.futures import as_completed
from importlib.metadata import version
from pathlib import Path

from fovea.atari import parquet
from fovea.atari.origin import Origin
from fovea.atari.recorder import Play, Sealed
from fovea.cluster import connected
from fovea.command import UserError
from fovea.files import write_bytes
from fovea.progress import bar

RETRIES = 10
"""Times that a shard is played again where the process that played it was killed."""


def play_on_ray(
    missing: Sequence[tuple[Origin, Path, int]],
    play: Play,
    address: str,
    workers: int | None,
    sealed: Sealed,
) -> None:
    """Record shards; the machines need Fovea and nothing of this one's files.

    A worker that is killed costs the shard that it plays, which is played again to the same bytes.

    Args:
        missing: origin, folder and index of each shard.
        play: makes the rows of a shard.
        address: see `fovea.cluster.connected`.
        workers: tasks at once of a Ray of one's own.
        sealed: called with the path of each shard that is complete.

    Raises UserError where a machine has other versions of the packages that play.
    """
    total = sum(made_by.settings["shard_steps"] for made_by, _, _ in missing)
    with connected(address, workers) as ray, bar("record", "steps", total) as shown:
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(_shard)
        pending = {
            task.remote(play, made_by, index).future(): (made_by, parquet.shard_path(to, index))
            for made_by, to, index in missing
        }
        for future in as_completed(pending):
            made_by, path = pending.pop(future)
            write_bytes(path, future.result())
            sealed(path)
            shown.set_description(f"{made_by.game} shard {parquet.shard_index(path)}", False)
            shown.update(made_by.settings["shard_steps"])


def _shard(play: Play, made_by: Origin, index: int) -> bytes:
    """A shard's file, in a worker."""
    for name, wanted in made_by.versions.items():
        if (here := version(name)) != wanted:
            raise UserError(
                f"{platform.node()} has {name} {here}, and this machine {wanted}: what it plays "
                "would be another recording; install the same there"
            )
    return parquet.encoded(play(made_by, index, lambda steps: None), made_by)
