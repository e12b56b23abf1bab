"""Recordings on disk: Parquet shards of whole episodes, and a file that lists them.

    OUT/GAME/shard-00000.parquet ...   one row per agent step (COLUMNS), rows in the order of play
    OUT/GAME/dataset.json              their rows and SHA-256, written when all are complete

A shard's schema metadata holds its `Origin`, so that dataset.json can be rebuilt from the shards.
Where agents played, each row names its `policy` too, which is the same throughout an episode.
Without that column all rows are of the one random policy that the metadata names.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fovea.atari.origin import Origin
from fovea.command import UserError
from fovea.files import replacing, write_json

KEY = b"recording"
ROW_GROUP = 512
DATASET = "dataset.json"
SCREEN_BYTES, RAM_BYTES = 84 * 84, 128

COLUMNS = pa.schema(
    [
        pa.field("screen", pa.binary(SCREEN_BYTES), nullable=False),  # what the agent saw
        pa.field("action", pa.uint8(), nullable=False),  # taken on it; index into the minimal set
        pa.field("reward", pa.int32(), nullable=False),  # raw, that the action earned
        pa.field("terminal", pa.bool_(), nullable=False),  # the game ended with this action
        pa.field("truncated", pa.bool_(), nullable=False),  # the episode was cut short after it
        pa.field("lives", pa.uint8(), nullable=False),
        pa.field("episode", pa.int64(), nullable=False),  # shard * 1,000,000 + its number there
        pa.field("step", pa.int32(), nullable=False),  # within the episode, from 0
        pa.field("ram", pa.binary(RAM_BYTES), nullable=False),  # at the moment of the screen
    ]
)
FORMATS = {
    1: COLUMNS,  # one random policy played all episodes
    2: COLUMNS.append(pa.field("policy", pa.string(), nullable=False)),  # agents did
}
EPISODES_PER_SHARD = 1_000_000


class Damaged(Exception):
    """A shard does not hold what was written; the message says what is wrong with it."""


@dataclass
class Shard:
    """A shard that was read and whose checksums agree."""

    path: Path
    table: pa.Table
    origin: Origin
    sha256: str

    def column(self, name: str) -> np.ndarray:
        """A column as an array: (rows,), or (rows, bytes) uint8 for screen and ram."""
        values = self.table.column(name).combine_chunks()
        if not pa.types.is_fixed_size_binary(values.type):
            return values.to_numpy(zero_copy_only=False)
        width = values.type.byte_width
        flat = np.frombuffer(values.buffers()[1], np.uint8)
        return flat[values.offset * width :][: len(values) * width].reshape(-1, width)

    @property
    def episodes(self) -> int:
        return len(np.unique(self.column("episode")))

    @cached_property
    def policy(self) -> np.ndarray:
        """(rows,) int64, who played: an index into `origin.policy_names`.

        Raises Damaged where the metadata does not have the name.
        """
        names = self.origin.policy_names
        if "policy" not in self.table.column_names:
            return np.zeros(self.table.num_rows, np.int64)
        found = self.table.column("policy").combine_chunks().dictionary_encode()
        if unknown := [name for name in found.dictionary.to_pylist() if name not in names]:
            raise Damaged(f"its metadata has no policy {unknown[0]!r}")
        number = np.array([names.index(name) for name in found.dictionary.to_pylist()], np.int64)
        return number[found.indices.to_numpy()]


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:05d}.parquet"


def shard_index(path: Path) -> int:
    return int(path.stem.removeprefix("shard-"))


def shard_paths(folder: Path) -> list[Path]:
    names = re.compile(r"shard-(\d{5}|[1-9]\d{5,})")
    found = (path for path in folder.glob("*.parquet") if names.fullmatch(path.stem))
    return sorted(found, key=shard_index)


def write_shard(path: Path, columns: dict[str, np.ndarray], origin: Origin) -> None:
    """Write a shard atomically; `columns` are as `Shard.column` gives them.

    Equal rows make equal bytes.
    """
    metadata = {KEY: json.dumps(origin.record(), sort_keys=True).encode()}
    schema = FORMATS[origin.format]
    arrays = [
        pa.FixedSizeBinaryArray.from_buffers(
            field.type, len(columns[field.name]), [None, pa.py_buffer(columns[field.name])]
        )
        if pa.types.is_fixed_size_binary(field.type)
        else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    encoded = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=schema.with_metadata(metadata)),
        encoded,
        row_group_size=ROW_GROUP,
        compression="zstd",
        use_dictionary=["policy"] if "policy" in schema.names else False,
        write_statistics=["action", "reward", "episode", "step"],
        data_page_size=ROW_GROUP * SCREEN_BYTES,  # one page a group: zstd sees all its screens
        write_page_checksum=True,
    )
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.getvalue())


def read_shard(path: Path) -> Shard:
    """Read a shard with its page checksums. Raises Damaged, or UserError for another format."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise Damaged("it is missing") from None
    shard = _shard(path, pa.BufferReader(content), hashlib.sha256(content).hexdigest())
    if not shard.table.schema.equals(FORMATS[shard.origin.format]):
        raise Damaged("its columns are not those of a recording")
    return shard


def read_columns(path: Path, names: list[str]) -> Shard:
    """Read some columns of a shard, and `policy` where it has it: without screens in no time.

    Its SHA-256 is left empty. Raises as `read_shard` does.
    """
    if not path.exists():
        raise Damaged("it is missing")
    return _shard(path, path, "", [*names, "policy"])


def _shard(path: Path, source: object, sha256: str, names: list[str] | None = None) -> Shard:
    """A shard from a file or a buffer: all columns, or those of `names` that it has."""
    try:
        with pq.ParquetFile(source, page_checksum_verification=True) as file:
            table = file.read(names)
    except (pa.ArrowException, OSError) as fault:
        raise Damaged(f"it cannot be read ({str(fault).splitlines()[0]})") from None
    try:
        made_by = json.loads(table.schema.metadata[KEY])
        if made_by["format"] not in FORMATS:
            raise UserError(
                f"{path} has format {made_by['format']}, and this version of fovea-rl reads "
                f"formats {', '.join(map(str, FORMATS))}: use the version that wrote it"
            )
        return Shard(path, table, Origin.of(made_by), sha256)
    except (TypeError, KeyError, AttributeError, json.JSONDecodeError):
        raise Damaged("its metadata does not say where it comes from") from None


def check_rows(shard: Shard) -> None:
    """Check that the rows are such as playing produces. Raises Damaged."""
    episode, step = shard.column("episode"), shard.column("step")
    over = shard.column("terminal") | shard.column("truncated")
    first = np.diff(episode, prepend=-1) != 0
    expected = shard_index(shard.path) * EPISODES_PER_SHARD + np.cumsum(first) - 1
    begins = np.maximum.accumulate(np.where(first, np.arange(len(episode)), 0))
    faults = {
        "it has no rows": len(episode) == 0,
        "its episodes are not numbered in the order of play": np.any(episode != expected),
        "the steps of an episode do not follow each other": np.any(
            step != np.arange(len(episode)) - begins
        ),
        "an episode ends in another row than its last": np.any(over != np.roll(first, -1)),
        "an action is not in the game's action set": np.any(
            shard.column("action") >= len(shard.origin.actions)
        ),
        "an episode has more than one policy": np.any(np.diff(shard.policy)[~first[1:]]),
    }
    for fault, found in faults.items():
        if found:
            raise Damaged(fault)


@dataclass(frozen=True)
class Dataset:
    """What dataset.json holds: where a game's recording comes from, and its shards in order."""

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
        return f"{self.rows} steps in {self.episodes} episodes, {len(self.shards)} shards"

    @property
    def sha256(self) -> str:
        """One hash of all the data, wherever it lies."""
        return hashlib.sha256("".join(s["sha256"] for s in self.shards).encode()).hexdigest()


def seal(folder: Path, shards: list[Shard]) -> Dataset:
    """Write dataset.json, which lists these shards as the recording."""
    rows = [
        {
            "file": shard.path.name,
            "rows": shard.table.num_rows,
            "episodes": shard.episodes,
            "sha256": shard.sha256,
        }
        for shard in shards
    ]
    dataset = Dataset(shards[0].origin, rows)
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
    return dataset


def open_dataset(folder: Path) -> Dataset:
    """Read dataset.json. Raises UserError where it is missing or damaged."""
    path = folder / DATASET
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return Dataset(Origin.of(record["origin"]), record["shards"])
    except FileNotFoundError:
        raise UserError(
            f"{folder} is not finished: run the command that records it (fovea atari collect, or "
            "fovea agents record) again to go on where it stopped"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path} is damaged: delete it and run the command that records it again, which only "
            "reads the shards and writes it again"
        ) from None


def read_dataset(folder: Path, dataset: Dataset) -> Iterator[Shard]:
    """Read the shards of a recording in order. Raises UserError that names a damaged one."""
    for listed in dataset.shards:
        path = folder / listed["file"]
        try:
            shard = read_shard(path)
            if shard.sha256 != listed["sha256"]:
                raise Damaged("its SHA-256 is not the one that was recorded")
        except Damaged as damage:
            raise UserError(f"{path}: {damage}; {_repair(dataset.origin)}") from None
        yield shard


def verify(folder: Path) -> tuple[Dataset, list[str]]:
    """Check every byte of a recording: what dataset.json lists, and one line for each fault."""
    dataset, faults = open_dataset(folder), []
    for listed in dataset.shards:
        path = folder / listed["file"]
        try:
            (shard,) = read_dataset(folder, Dataset(dataset.origin, [listed]))
            check_rows(shard)
            if difference := shard.origin.difference(dataset.origin):
                name, here, there = difference
                raise Damaged(f"it was made with {name} {here}, and the rest with {there}")
            if (shard.table.num_rows, shard.episodes) != (listed["rows"], listed["episodes"]):
                raise Damaged("its rows or episodes are not as many as dataset.json lists")
        except UserError as fault:
            faults.append(str(fault))
        except Damaged as damage:
            faults.append(f"{path}: {damage}; {_repair(dataset.origin)}")
    belong = {folder / listed["file"] for listed in dataset.shards}
    faults += [
        f"{path}: dataset.json does not list it; delete it or, if collecting was interrupted, run "
        "that command again"
        for path in sorted({*folder.glob("*.parquet")} - belong)
    ]
    return dataset, faults


def _repair(origin: Origin) -> str:
    return (
        f"run the {origin.command} command of {origin.game} with seed {origin.seed} again: "
        "it records this shard again"
    )


def find_recordings(folders: Sequence[str | Path]) -> list[Path]:
    """The folders of single games: `folders` themselves, or the folders in them.

    Raises UserError for a folder without a recording.
    """
    found = []
    for folder in map(Path, folders):
        inside = [folder, *sorted(folder.glob("*/"))]
        games = [path for path in inside if (path / DATASET).exists() or shard_paths(path)]
        if not games:
            raise UserError(
                f"no recordings in {folder}: make some with "
                f"`fovea atari collect pong --out {folder}`"
            )
        found += games
    return found
