"""A shard: a Parquet file of whole episodes, a row for each agent step, as played (COLUMNS).

Its schema metadata holds its `Origin`. Each row names its game, and its `policy`, which is the same
throughout an episode.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fovea.atari.games import find
from fovea.atari.origin import Origin
from fovea.command import UserError
from fovea.files import write_bytes
from fovea.memory import free_memory

KEY = b"recording"
ROW_GROUP = 512
SHARD_NAME = re.compile(r"shard-(\d{5}|[1-9]\d{5,})\.parquet")
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
        if self.lacks(name):
            return np.zeros((len(values), RAM_BYTES) if name == "ram" else len(values), np.uint8)
        if not pa.types.is_fixed_size_binary(values.type):
            return values.to_numpy(zero_copy_only=False)
        width = values.type.byte_width
        flat = np.frombuffer(values.buffers()[1], np.uint8)
        return flat[values.offset * width :][: len(values) * width].reshape(-1, width)

    def lacks(self, name: str) -> bool:
        """Whether the data set that was imported had no such column."""
        return self.table.column(name).null_count > 0

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
        # Not bytes of Python's: a thread of Arrow that lets go of them last, while Python ends,
        # would end the process with SIGABRT.
        with pa.OSFile(str(path)) as file:
            content = file.read_buffer()
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
            if (claimed := _claimed(file, names)) > free_memory():
                raise Damaged(f"it claims to hold {claimed:,} bytes, more than memory does")
            table = file.read(names)
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as fault:
        raise Damaged(f"it cannot be read ({str(fault).splitlines()[0]})") from None
    try:
        made_by = json.loads(table.schema.metadata[KEY])
        if made_by["format"] not in FORMATS:
            raise UserError(
                f"{path} has format {made_by['format']}, and this version of fovea-rl reads "
                f"formats {', '.join(map(str, FORMATS))}: use the version that wrote it"
            )
        return Shard(path, table, Origin.of(made_by), sha256)
    except UserError:
        raise
    except (TypeError, KeyError, AttributeError, ValueError, RecursionError):
        raise Damaged("its metadata does not say where it comes from") from None


def _claimed(file: pq.ParquetFile, names: list[str] | None) -> int:
    """Bytes of memory that columns take, by what a file says of them and of its rows.

    Rows that all hold one value take nothing in the file, however many there are.
    """
    schema, metadata = file.schema_arrow, file.metadata
    wanted = {name for name in schema.names if names is None or name in names}
    groups = (metadata.row_group(k) for k in range(metadata.num_row_groups))
    columns = (group.column(k) for group in groups for k in range(group.num_columns))
    sizes = sum(
        column.total_uncompressed_size for column in columns if column.path_in_schema in wanted
    )
    return max(sizes, metadata.num_rows * sum(_width(schema.field(name).type) for name in wanted))


def _width(kind: pa.DataType) -> int:
    """Bytes of a value, at least."""
    if pa.types.is_dictionary(kind):
        kind = kind.index_type
    try:
        return max(1, kind.bit_width // 8)
    except ValueError:  # of text, whose values have any length
        return 4


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
