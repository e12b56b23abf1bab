"""What importers of other data sets share: how they go on in a folder where they were stopped."""

from __future__ import annotations

from pathlib import Path

from fovea.atari.origin import Origin
from fovea.atari.parquet import Damaged, check_rows, read_columns, read_shard, shard_paths
from fovea.command import UserError


def check_folder(folder: Path, origin: Origin) -> None:
    """Remove what a kill left. Raises UserError for shards of another origin."""
    for left in folder.glob(".*.tmp"):
        left.unlink()
    for path in shard_paths(folder):
        try:
            difference = origin.difference(read_columns(path, []).origin)
        except Damaged:
            continue
        if difference:
            name, wanted, found = difference
            raise UserError(
                f"{path} was imported with {name} {found}, not {wanted}: give another --out"
            )


def rows_of(path: Path) -> int | None:
    """How many rows a shard has; None where it is missing or damaged."""
    try:
        there = read_shard(path)
        check_rows(there)
    except Damaged:
        return None
    return there.table.num_rows
