"""A folder of recordings is what other readers of Parquet take it for, and old ones still load."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from fovea.atari.collect import collect
from fovea.atari.frames import Frames
from fovea.atari.games import GAMES
from fovea.atari.parquet import read_shard, shard_paths, write_shard
from fovea.atari.recordings import open_dataset, verify
from fovea.files import sha256


def as_version_0_1_wrote_it(folder: Path) -> None:
    """Rewrite a recording in format 1, with the name that its list had."""
    listed = json.loads((folder / "_dataset.json").read_text())
    listed["origin"]["format"] = 1
    for number, path in enumerate(shard_paths(folder)):
        shard = read_shard(path)
        columns = {name: shard.column(name) for name in shard.table.column_names}
        columns["episode"] = columns["episode"] % 10**12
        write_shard(path, columns, replace(shard.origin, format=1))
        listed["shards"][number]["sha256"] = sha256(path)
    listed.pop("sha256", None)  # of the shards that were
    (folder / "_dataset.json").unlink()
    (folder / "dataset.json").write_text(json.dumps(listed))


@pytest.fixture
def old(recordings: Path, tmp_path: Path) -> Path:
    """The recordings as they were before format 3."""
    shutil.copytree(recordings, tmp_path / "old")
    for game in ("breakout", "pong"):
        as_version_0_1_wrote_it(tmp_path / "old" / game)
    return tmp_path / "old"


@pytest.mark.slow
def test_a_folder_is_one_table_and_episodes_of_games_do_not_merge(recordings: Path) -> None:
    for folder, games in ((recordings / "pong", {"pong"}), (recordings, {"breakout", "pong"})):
        table = pyarrow.dataset.dataset(folder).to_table()
        assert table.num_rows == sum(open_dataset(recordings / game).rows for game in games)
        assert set(table["game"].to_pylist()) == games
        pairs = set(zip(table["game"].to_pylist(), table["episode"].to_pylist(), strict=True))
        assert len(pairs) == len({episode for _, episode in pairs})
        assert len(pairs) == sum(open_dataset(recordings / game).episodes for game in games)
        assert set(table["policy"].to_pylist()) == {"random"}
    assert pq.read_table(recordings).num_rows == table.num_rows  # what pandas calls


def test_names_of_actions_are_in_the_metadata(recordings: Path) -> None:
    schema = pyarrow.dataset.dataset(recordings / "breakout").schema
    assert json.loads(schema.metadata[b"recording"])["actions"] == ["NOOP", "FIRE", "RIGHT", "LEFT"]


def test_names_of_games_and_policies_cost_little(old: Path, recordings: Path) -> None:
    sizes = [
        sum(path.stat().st_size for path in folder.glob("*/*.parquet"))
        for folder in (old, recordings)
    ]
    assert sizes[0] < sizes[1] < 1.03 * sizes[0]


def test_the_numbers_of_games_stay(recordings: Path) -> None:
    numbers = {name: game.number for name, game in GAMES.items()}
    assert sorted(numbers.values()) == list(range(1, len(GAMES) + 1))
    assert (numbers["alien"], numbers["breakout"], numbers["pong"]) == (1, 13, 36)
    known = json.dumps({name: numbers[name] for name in sorted(numbers)}).encode()
    assert hashlib.sha256(known).hexdigest()[:16] == "83a93a14def1eaca"
    assert read_shard(recordings / "pong" / "shard-00002.parquet").column("episode")[0] == (
        36_000002_000000
    )


@pytest.mark.slow
def test_recordings_of_older_formats_are_read_as_before(old: Path, recordings: Path) -> None:
    for game in ("breakout", "pong"):
        assert verify(old / game)[1] == []
    before, now = Frames.load([old]), Frames.load([recordings])
    assert before.screens.equal(now.screens)
    assert before.episode.equal(now.episode)
    assert all(before.labels[name].equal(now.labels[name]) for name in now.labels)
    assert len(Frames.load([old / "pong", recordings / "pong"])) == 2 * len(now.of("pong"))


@pytest.mark.slow
def test_what_an_older_version_began_goes_on_in_its_format(old: Path) -> None:
    path = old / "breakout" / "shard-00001.parquet"
    before = path.read_bytes()
    path.unlink()
    collect(["breakout"], old, steps=1500, shard_steps=750, workers=1)
    assert path.read_bytes() == before
    assert verify(old / "breakout")[1] == []
    assert not (old / "breakout" / "dataset.json").exists()
    assert open_dataset(old / "breakout").origin.format == 1
    assert np.all(read_shard(path).column("episode") < 10**12)
