"""Recordings in many shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fovea.atari.parquet import (
    COLUMNS,
    EPISODES_PER_SHARD,
    read_shard,
    shard_path,
    write_shard,
)
from fovea.atari.recordings import open_dataset, read_dataset, seal


@pytest.fixture(scope="session")
def cut(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same recordings with a shard for each episode."""
    out = tmp_path_factory.mktemp("cut")
    for game in ("breakout", "pong"):
        shards = []
        for shard in read_dataset(recordings / game, open_dataset(recordings / game)):
            columns = {name: shard.column(name) for name in COLUMNS.names}
            for episode in np.unique(columns["episode"]):
                rows = columns["episode"] == episode
                mine = {name: column[rows] for name, column in columns.items()}
                mine["episode"][:] = len(shards) * EPISODES_PER_SHARD
                path = shard_path(out / game, len(shards))
                write_shard(path, mine, shard.origin)
                shards.append(read_shard(path))
        seal(out / game, shards)
    return out
