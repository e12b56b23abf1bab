"""The one-line calls of docs/recordings.md, with the libraries themselves (extra `readers`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fovea.atari.__main__ import run
from fovea.atari.frames import Frames
from fovea.atari.parquet import FORMATS
from fovea.atari.recordings import open_dataset, read_dataset


@pytest.fixture(scope="module")
def frames(recordings: Path) -> Frames:
    return Frames.load([recordings])


def test_pandas_reads_a_game_and_all_games(recordings: Path, frames: Frames) -> None:
    pandas = pytest.importorskip("pandas")
    pong = pandas.read_parquet(recordings / "pong")
    assert len(pong) == open_dataset(recordings / "pong").rows
    every = pandas.read_parquet(recordings)
    assert len(every) == len(frames)
    returns = every.groupby(["game", "episode"], observed=True)["reward"].sum()
    assert len(returns) == len(frames.episode.unique())
    screens = np.frombuffer(b"".join(every["screen"]), np.uint8).reshape(-1, 84, 84)
    assert np.array_equal(screens, frames.screens)


def test_polars_reads_a_pattern_of_files_and_a_folder(recordings: Path, frames: Frames) -> None:
    polars = pytest.importorskip("polars")
    table = polars.read_parquet(recordings / "*" / "*.parquet")
    assert len(table) == len(frames)
    folder = polars.scan_parquet(recordings, hidden_file_prefix=["_", "."])
    assert folder.collect().equals(table)
    assert table.select("game", "episode").n_unique() == table["episode"].n_unique()


def test_polars_wants_to_be_told_which_files_of_a_folder_are_meant(recordings: Path) -> None:
    """Where that has changed, so must the sentence of the page."""
    polars = pytest.importorskip("polars")
    for read in (polars.read_parquet, lambda folder: polars.scan_parquet(folder).collect()):
        with pytest.raises(polars.exceptions.InvalidOperationError, match=r"_dataset\.json"):
            read(recordings / "pong")


@pytest.mark.slow
def test_datasets_shows_exported_screens_as_images(
    recordings: Path, frames: Frames, tmp_path: Path
) -> None:
    """And each of their columns as it was recorded."""
    datasets = pytest.importorskip("datasets")
    run(["export", str(recordings), "--out", str(tmp_path / "images"), "--to", "images"])
    table = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "images" / "*" / "*.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert len(table) == len(frames)
    pictures = table["screen"]
    assert {(picture.mode, picture.size) for picture in pictures} == {("L", (84, 84))}
    assert np.array_equal([np.asarray(picture) for picture in pictures], frames.screens)
    folders = [recordings / "breakout", recordings / "pong"]
    shards = [shard for folder in folders for shard in read_dataset(folder, open_dataset(folder))]
    for name in FORMATS[3].names[1:]:
        recorded = [value for shard in shards for value in shard.table[name].to_pylist()]
        assert table[name][:] == recorded, name
    raw = datasets.load_dataset(
        "parquet",
        data_files=str(recordings / "*" / "*.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert raw[5]["screen"] == frames.screens[5].numpy().tobytes()
