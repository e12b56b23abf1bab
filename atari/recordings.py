"""Recordings on disk: Parquet shards of whole episodes, and a file that lists them.

    OUT/GAME/shard-00000.parquet ...   one row per agent step (COLUMNS), rows in the order of play
    OUT/GAME/_dataset.json             their rows and SHA-256, written when all are complete

Readers of Parquet folders (pyarrow, pandas, Spark) skip names that begin with an underscore, so
that `pandas.read_parquet("OUT/GAME")` reads the shards; it was dataset.json in formats 1 and 2.
A shard's schema metadata holds its `Origin`, so that _dataset.json can be rebuilt from the shards.
Each row names its game, and its `policy`, which is the same throughout an episode.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fovea.atari.games import find
from fovea.atari.origin import Origin
from fovea.command import UserError
from fovea.files import write_bytes, write_json
from fovea.foreign import read_text
from fovea.memory import free_memory

KEY = b"recording"
ROW_GROUP = 512
DATASET = "_dataset.json"
SHARD_NAME = re.compile(r"shard-(\d{5}|[1-9]\d{5,})\.parquet")
OLD_DATASET = "dataset.json"  # its name in formats 1 and 2
SCREEN_BYTES, RAM_BYTES = 84 * 84, 128

COLUMNS = pa.schema(
    [
        pa.field("screen", pa.binary(SCREEN_BYTES), nullable=False),  # what the agent saw
        pa.field("action", pa.uint8(), nullable=False),  # taken on it; index into the minimal set
        pa.field("reward", pa.int32(), nullable=False),  # raw, that the action earned
        pa.field("terminal", pa.bool_(), nullable=False),  # the game ended with this action
        pa.field("truncated", pa.bool_(), nullable=False),  # the episode was cut short after it
        pa.field("lives", pa.uint8(), nullable=False),
        pa.field("episode", pa.int64(), nullable=False),  # see `first_episode`
        pa.field("step", pa.int32(), nullable=False),  # within the episode, from 0
        pa.field("ram", pa.binary(RAM_BYTES), nullable=False),  # at the moment of the screen
    ]
)
NAME = pa.dictionary(pa.int32(), pa.string())


def _imported() -> pa.Schema:
    """The columns, of which other data sets lack the lives and the console's memory."""
    optional = [f.with_nullable(True) if f.name in ("lives", "ram") else f for f in COLUMNS]
    return pa.schema(optional)


FORMATS = {
    1: COLUMNS,  # one random policy played all episodes
    2: COLUMNS.append(pa.field("policy", pa.string(), nullable=False)),  # agents did
    3: _imported()
    .append(pa.field("game", NAME, nullable=False))
    .append(pa.field("policy", NAME, nullable=False)),
}
EPISODES_PER_SHARD = SHARDS_PER_GAME = 1_000_000


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
        """A column as an array: (rows,), or (rows, bytes) uint8 for screen and ram.

        What an imported data set lacks, lives and ram, is zero.
        """
        values = self.table.column(name).combine_chunks()
        if values.null_count:
            return np.zeros((len(values), RAM_BYTES) if name == "ram" else len(values), np.uint8)
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
        found = self.table.column("policy").combine_chunks()
        if not pa.types.is_dictionary(found.type):
            found = found.dictionary_encode()
        if unknown := [name for name in found.dictionary.to_pylist() if name not in names]:
            raise Damaged(f"its metadata has no policy {unknown[0]!r}")
        number = np.array([names.index(name) for name in found.dictionary.to_pylist()], np.int64)
        return number[found.indices.to_numpy()]


def first_episode(origin: Origin, index: int) -> int:
    """The number of the first episode of shard `index`; those after it count on.

    No two episodes of a folder of recordings have one number: of an episode 12 in shard 3 of game
    40 it is 40 000003 000012. In formats 1 and 2 games had the same numbers.
    """
    game = find(origin.game).number * SHARDS_PER_GAME if origin.format >= 3 else 0
    return (game + index) * EPISODES_PER_SHARD


def shard_path(folder: Path, index: int) -> Path:
    return folder / f"shard-{index:05d}.parquet"


def shard_index(path: Path) -> int:
    return int(path.stem.removeprefix("shard-"))


def shard_paths(folder: Path) -> list[Path]:
    found = (path for path in folder.glob("*.parquet") if SHARD_NAME.fullmatch(path.name))
    return sorted(found, key=shard_index)


def write_shard(path: Path, columns: dict[str, np.ndarray], origin: Origin) -> None:
    """Write a shard atomically, see `encoded`."""
    write_bytes(path, encoded(columns, origin))


def encoded(columns: dict[str, np.ndarray], origin: Origin) -> bytes:
    """The bytes of a shard's file.

    Args:
        columns: as `Shard.column` gives them, of the origin's format. `game` need not be there,
            nor `policy` where there is one alone; `lives` and `ram` are absent in what was
            imported without them.
        origin: of the rows.

    Equal rows make equal bytes.
    """
    metadata = {KEY: json.dumps(origin.record(), sort_keys=True).encode()}
    schema = FORMATS[origin.format]
    rows = len(columns["step"])
    same = {"game": origin.game, "policy": origin.policy_names[0]}
    arrays = [
        _array(columns.get(field.name, same.get(field.name)), field.type, rows) for field in schema
    ]
    made = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=schema.with_metadata(metadata)),
        made,
        row_group_size=ROW_GROUP,
        compression="zstd",
        use_dictionary=[name for name in ("game", "policy") if name in schema.names] or False,
        write_statistics=["action", "reward", "episode", "step"],
        data_page_size=ROW_GROUP * SCREEN_BYTES,  # one page a group: zstd sees all its screens
        write_page_checksum=True,
    )
    return made.getvalue().to_pybytes()


def _array(values: np.ndarray | str | None, kind: pa.DataType, rows: int) -> pa.Array:
    """A column of a shard: an array's values, one name throughout, or none."""
    if values is None:
        return pa.nulls(rows, kind)
    if isinstance(values, str):
        return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([values]))
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode()
    if pa.types.is_fixed_size_binary(kind):
        return pa.FixedSizeBinaryArray.from_buffers(kind, rows, [None, pa.py_buffer(values)])
    return pa.array(values, kind)


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
            claimed = sum(
                file.metadata.row_group(k).total_byte_size
                for k in range(file.metadata.num_row_groups)
            )
            claimed = max(claimed, file.metadata.num_rows)
            if names is None and claimed > free_memory():
                raise Damaged(f"it claims to hold {claimed:,} bytes, more than memory does")
            table = file.read(names)
    except (pa.ArrowException, OSError, MemoryError) as fault:
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
    begin = first_episode(shard.origin, shard_index(shard.path))
    expected = begin + np.cumsum(first) - 1
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
        return f"{self.rows} steps in {self.episodes} episodes, {len(self.shards)} shards"

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
            f"{folder} is not finished: run the command that records it (fovea atari collect, "
            "fovea agents record, or fovea atari import) again to go on where it stopped"
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
            _check_origin(shard, dataset)
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


def _check_origin(shard: Shard, dataset: Dataset) -> None:
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
            raise UserError(
                f"no recordings in {folder}: make some with "
                f"`fovea atari collect pong --out {folder}`"
            )
        found += games
    return found


def is_address(place: str | Path) -> bool:
    """Whether it is an address of fsspec, and no folder of this machine."""
    return isinstance(place, str) and "://" in place


def _here(place: str | Path) -> Path:
    if not is_address(place):
        return Path(place)
    from fovea.atari.remote import fetch  # which needs this module

    return fetch(str(place))
