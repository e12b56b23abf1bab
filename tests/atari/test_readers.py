"""The one-line calls of docs/recordings.md, with the libraries themselves (extra `readers`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fovea.atari.__main__ import run
from fovea.atari.frames import Frames
from fovea.atari.recordings import open_dataset


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


@pytest.mark.slow
def test_datasets_shows_exported_screens_as_images(
    recordings: Path, frames: Frames, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    run(["export", str(recordings), "--out", str(tmp_path / "images"), "--to", "images"])
    table = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "images" / "*" / "*.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert len(table) == len(frames)
    picture = table[5]["screen"]
    assert (picture.mode, picture.size) == ("L", (84, 84))
    assert np.array_equal(np.asarray(picture), frames.screens[5])
    raw = datasets.load_dataset(
        "parquet",
        data_files=str(recordings / "*" / "*.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert raw[5]["screen"] == frames.screens[5].numpy().tobytes()
