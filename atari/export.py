"""Recordings for other libraries: NumPy files, or Parquet files whose screens are images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fovea.atari.emulator import SCREEN
from fovea.atari.parquet import Shard
from fovea.atari.recordings import open_dataset, read_dataset
from fovea.files import replacing

COLUMNS = "action", "reward", "terminal", "truncated", "lives", "step", "ram"
PGM = b"P5 %d %d 255\n" % SCREEN
"""What makes a grey picture file of a screen's bytes (netpbm.sourceforge.net/doc/pgm.html)."""
BINARY, STRING = pa.binary(), pa.string()
IMAGES = pa.schema(
    [
        pa.field("screen", pa.struct([pa.field("bytes", BINARY), pa.field("path", STRING)])),
        pa.field("action", pa.uint8()),
        pa.field("action_name", STRING),
        pa.field("reward", pa.int32()),
        pa.field("terminal", pa.bool_()),
        pa.field("truncated", pa.bool_()),
        pa.field("lives", pa.uint8()),
        pa.field("step", pa.int32()),
        pa.field("ram", BINARY),
        pa.field("episode", pa.int64()),
        pa.field("game", STRING),
        pa.field("policy", STRING),
    ]
)


def export_numpy(folder: Path, out: Path) -> Iterator[int]:
    """Write each episode of a recording as OUT/GAME/EPISODE.npz; yields its steps.

    A file has the arrays screen (T, 84, 84) uint8, action, reward, terminal, truncated, lives and
    step (T,), ram (T, 128) uint8, and the words game, policy and actions, the names that `action`
    counts in. What was imported without lives and ram has none. `shard` is the hash of the shard
    that the episode is in: files that have it are kept.

    Raises UserError for a recording that is unfinished or damaged.
    """
    dataset = open_dataset(folder)
    actions = np.array(dataset.origin.actions)
    for shard in read_dataset(folder, dataset):
        names = [name for name in COLUMNS if not shard.table.column(name).null_count]
        columns = {name: shard.column(name) for name in names}
        columns["screen"] = shard.column("screen").reshape(-1, *SCREEN)
        for number, rows in episodes(shard):
            path = out / dataset.origin.game / f"{number}.npz"
            if not _is_from(path, shard.sha256):
                said = {
                    "game": np.array(dataset.origin.game),
                    "policy": np.array(dataset.origin.policy_names[shard.policy[rows.start]]),
                    "actions": actions,
                    "shard": np.array(shard.sha256),
                }
                with replacing(path) as temporary, open(temporary, "wb") as file:
                    arrays = {name: column[rows] for name, column in columns.items()}
                    np.savez_compressed(file, allow_pickle=False, **arrays, **said)
            yield rows.stop - rows.start


def export_images(folder: Path, out: Path) -> Iterator[int]:
    """Write each shard of a recording as OUT/GAME/SHARD.parquet (IMAGES); yields its steps.

    Screens are PGM pictures, and the schema says so as the library `datasets` of Hugging Face does,
    which shows them as images. All games have the same columns. Files of the same shards are kept.

    Raises UserError for a recording that is unfinished or damaged.
    """
    dataset = open_dataset(folder)
    features = {
        field.name: {"_type": "Image"}
        if pa.types.is_struct(field.type)
        else {"dtype": str(field.type), "_type": "Value"}
        for field in IMAGES
    }
    for shard in read_dataset(folder, dataset):
        path = out / dataset.origin.game / f"{shard.path.stem}.parquet"
        said = {
            b"huggingface": json.dumps({"info": {"features": features}}).encode(),
            b"shard": shard.sha256.encode(),
        }
        if not path.exists() or pq.read_schema(path).metadata[b"shard"] != said[b"shard"]:
            with replacing(path) as temporary:
                table = _images(shard).replace_schema_metadata(said)
                names = ["action_name", "game", "policy"]
                pq.write_table(table, temporary, compression="zstd", use_dictionary=names)
        yield shard.table.num_rows


def episodes(shard: Shard) -> Iterator[tuple[int, slice]]:
    """The number of each episode of a shard, and its rows."""
    numbers, first = np.unique(shard.column("episode"), return_index=True)
    last = [*first[1:].tolist(), shard.table.num_rows]
    for number, begin, end in zip(numbers.tolist(), first.tolist(), last, strict=True):
        yield number, slice(begin, end)


def _is_from(path: Path, shard: str) -> bool:
    """Whether a file has an episode of this shard."""
    try:
        with np.load(path) as file:
            return str(file["shard"]) == shard
    except (FileNotFoundError, KeyError, ValueError, BadZipFile):
        return False


def _images(shard: Shard) -> pa.Table:
    """The columns of IMAGES."""
    rows = shard.table.num_rows
    header = np.tile(np.frombuffer(PGM, np.uint8), (rows, 1))
    pictures = np.concatenate([header, shard.column("screen")], axis=1)
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(pictures.shape[1])
    content = pa.Array.from_buffers(
        BINARY, rows, [None, pa.py_buffer(offsets), pa.py_buffer(pictures)]
    )
    origin = shard.origin
    made = {
        "screen": pa.StructArray.from_arrays(
            [content, pa.nulls(rows, STRING)], fields=list(IMAGES.field("screen").type)
        ),
        "action_name": pa.array(np.array(origin.actions, object)[shard.column("action")], STRING),
        "ram": shard.table.column("ram").cast(BINARY),
        "game": pa.array([origin.game] * rows, STRING),
        "policy": pa.array(np.array(origin.policy_names, object)[shard.policy], STRING),
    }
    arrays = [
        made[field.name] if field.name in made else shard.table.column(field.name)
        for field in IMAGES
    ]
    return pa.Table.from_arrays(arrays, schema=IMAGES)
