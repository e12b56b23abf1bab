"""Recordings on disk: Parquet shards of whole episodes, and a file that lists them.

    OUT/GAME/shard-00000.parquet ...   see fovea.atari.parquet
    OUT/GAME/_dataset.json             their rows and SHA-256, written when all are complete

Readers of Parquet folders (pyarrow, pandas, Spark) skip names that begin with an underscore, so
that `pandas.read_parquet("OUT/GAME")` reads the shards; it was dataset.json in formats 1 and 2.
A shard's schema metadata holds its `Origin`, so that _dataset.json can be rebuilt from the shards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fovea.atari.games import find
from fovea.atari.origin import Origin
from fovea.atari.parquet import SHARD_NAME, Damaged, Shard, check_rows, read_shard, shard_paths
from fovea.command import UserError
from fovea.files import walk, write_json
from fovea.foreign import read_text

DATASET = "_dataset.json"
OLD_DATASET = "dataset.json"  # its name in formats 1 and 2


def many(count: int, thing: str) -> str:
    """1 shard, 3 shards."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Dataset:
    """What _dataset.json holds: where a game's recording comes from, and its shards in order."""

    origin: Origin
    shards: list[dict] = field(default_factory=list)  # file, rows, episodes, sha256

    @property
    def rows(self) -> int:
        return sum(shard["rows"] for shard in self.shards)

    @property
    def episodes(self) -> int:
        return sum(shard["episodes"] for shard in self.shards)

    @property
    def counts(self) -> str:
        """How much there is, in words."""
        episodes, shards = many(self.episodes, "episode"), many(len(self.shards), "shard")
        return f"{self.rows} steps in {episodes}, {shards}"

    @property
    def sha256(self) -> str:
        """One hash of all the data, wherever it lies."""
        return hashlib.sha256("".join(s["sha256"] for s in self.shards).encode()).hexdigest()


def seal(folder: Path, shards: Iterable[Shard]) -> Dataset:
    """Write _dataset.json, which lists these shards, at least one, as the recording."""
    rows, origin = [], None
    for shard in shards:  # one at a time in memory
        origin = origin or shard.origin
        rows.append(
            {
                "file": shard.path.name,
                "rows": shard.table.num_rows,
                "episodes": shard.episodes,
                "sha256": shard.sha256,
            }
        )
    assert origin is not None
    dataset = Dataset(origin, rows)
    write_json(
        folder / DATASET,
        {
            "rows": dataset.rows,
            "episodes": dataset.episodes,
            "sha256": dataset.sha256,
            "origin": dataset.origin.record(),
            "shards": dataset.shards,
        },
    )
    with suppress(FileNotFoundError):
        (folder / OLD_DATASET).unlink()
    return dataset


def dataset_path(folder: Path) -> Path:
    """The file that lists a recording's shards, under its name of today or its old one."""
    old = folder / OLD_DATASET
    return old if old.exists() and not (folder / DATASET).exists() else folder / DATASET


def open_dataset(folder: Path) -> Dataset:
    """Read _dataset.json. Raises UserError where it is missing or damaged."""
    path = dataset_path(folder)
    try:
        record = json.loads(read_text(path))
        dataset = Dataset(Origin.of(record["origin"]), record["shards"])
        _check_listed(dataset, record)
        return dataset
    except FileNotFoundError:
        raise UserError(
            f"{folder} has no {DATASET}, so it is not finished: run the command that records it "
            "(fovea atari collect, fovea agents record, fovea atari import) again to go on where "
            "it stopped; files of your own come in through fovea atari import npz"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path} is damaged: delete it and run the command that records it again, which only "
            "reads the shards and writes it again"
        ) from None


def _check_listed(dataset: Dataset, record: dict) -> None:
    """Raise ValueError where a list of shards does not agree with itself, or names other files."""
    if not dataset.shards or not isinstance(dataset.shards, list):
        raise ValueError("it lists no shards")
    find(dataset.origin.game)
    for listed in dataset.shards:
        if not SHARD_NAME.fullmatch(listed["file"]):
            raise ValueError(f"{listed['file']!r} is no shard's name")
        for count in (listed["rows"], listed["episodes"]):
            if type(count) is not int or not 0 < count < 2**40:
                raise ValueError(f"{listed['file']} has {count!r} rows or episodes")
    if len({listed["file"] for listed in dataset.shards}) < len(dataset.shards):
        raise ValueError("it lists a shard twice")
    totals = {"rows": dataset.rows, "episodes": dataset.episodes, "sha256": dataset.sha256}
    for name, total in totals.items():
        if record.get(name, total) != total:  # version 0.1 did not write all of them
            raise ValueError(f"{name} is {record[name]}, and that of its shards {total}")


def read_dataset(folder: Path, dataset: Dataset) -> Iterator[Shard]:
    """Read the shards of a recording in order. Raises UserError that names a damaged one."""
    for listed in dataset.shards:
        path = folder / listed["file"]
        try:
            shard = read_shard(path)
            if shard.sha256 != listed["sha256"]:
                raise Damaged("its SHA-256 is not the one that was recorded")
            check_origin(shard, dataset)
            if (shard.table.num_rows, shard.episodes) != (listed["rows"], listed["episodes"]):
                raise Damaged(
                    f"its rows or episodes are not as many as {dataset_path(folder).name} lists"
                )
        except Damaged as damage:
            raise UserError(f"{path}: {damage}; {_repair(dataset.origin)}") from None
        yield shard


def verify(folder: Path, looked: Callable[[], object] = lambda: None) -> tuple[Dataset, list[str]]:
    """Check every byte of a recording: what _dataset.json lists, and one line for each fault.

    Args:
        folder: of one game.
        looked: called after each shard.
    """
    dataset, faults = open_dataset(folder), []
    name = dataset_path(folder).name
    for listed in dataset.shards:
        path = folder / listed["file"]
        try:
            (shard,) = read_dataset(folder, Dataset(dataset.origin, [listed]))
            check_rows(shard)
        except UserError as fault:
            faults.append(str(fault))
        except Damaged as damage:
            faults.append(f"{path}: {damage}; {_repair(dataset.origin)}")
        looked()
    belong = {folder / listed["file"] for listed in dataset.shards}
    faults += [
        f"{path}: {name} does not list it; delete it or, if collecting was interrupted, run "
        "that command again"
        for path in sorted({*folder.glob("*.parquet")} - belong)
    ]
    return dataset, faults


def check_origin(shard: Shard, dataset: Dataset) -> None:
    """Raise Damaged for a shard that comes from elsewhere than the recording."""
    if difference := shard.origin.difference(dataset.origin):
        name, here, there = difference
        raise Damaged(f"it was made with {name} {here}, and the rest with {there}")


def _repair(origin: Origin) -> str:
    return (
        f"run the {origin.command} command of {origin.game} with seed {origin.seed} again: "
        "it records this shard again"
    )


def find_recordings(folders: Sequence[str | Path]) -> list[Path]:
    """The folders of single games: `folders` themselves, or the folders in them.

    What lies at an address, such as s3://bucket/recordings, is copied to this machine first.

    Raises UserError for a folder without a recording.
    """
    found = []
    for folder in map(_here, folders):
        inside = [folder, *sorted(folder.glob("*/"))]
        games = [path for path in inside if dataset_path(path).exists() or shard_paths(path)]
        if not games:
            if any(numpy_files(folder)):
                raise UserError(
                    f"{folder} holds NumPy files and no recordings: make some of them with "
                    f"`fovea atari import npz {folder} --out recordings`"
                )
            raise UserError(
                f"no recordings in {folder}: make some with "
                f"`fovea atari collect pong --out {folder}`"
            )
        found += games
    return found


def numpy_files(place: str | Path) -> Iterator[Path]:
    """The .npz files at or below a place, behind links too, each once; hidden ones are left out."""
    if Path(place).is_file():
        yield Path(place)
    seen = set()
    for parent, _, files in walk(place):
        for path in (parent / name for name in sorted(files)):
            if path.match("[!.]*.npz") and (real := path.resolve()) not in seen:
                seen.add(real)
                yield path


def is_address(place: str | Path) -> bool:
    """Whether it is an address of fsspec, and no folder of this machine."""
    return isinstance(place, str) and "://" in place


def _here(place: str | Path) -> Path:
    if not is_address(place):
        return Path(place)
    from fovea.atari.remote import fetch  # which needs this module

    return fetch(str(place))
