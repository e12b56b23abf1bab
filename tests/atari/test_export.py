"""What is exported holds what was recorded, in files that other libraries read."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from fovea.atari.__main__ import run
from fovea.atari.film import STEPS_PER_SECOND
from fovea.atari.frames import LABELS, Frames
from fovea.atari.parquet import Shard, read_shard, shard_paths
from fovea.atari.play import find_episode, pictures
from fovea.command import UserError


@pytest.fixture(scope="module")
def exported(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported")
    run(["export", str(recordings), "--out", str(out / "npz")])
    run(["export", str(recordings), "--out", str(out / "images"), "--to", "images"])
    return out


def test_numpy_files_hold_every_episode(recordings: Path, exported: Path) -> None:
    frames = Frames.load([recordings / "pong"])
    files = [
        dict(np.load(path))
        for path in sorted((exported / "npz" / "pong").glob("*.npz"), key=lambda p: int(p.stem))
    ]
    assert len(files) == len(frames.episode.unique())
    assert np.array_equal(np.concatenate([file["screen"] for file in files]), frames.screens)
    for name in LABELS:
        found = np.concatenate([file[name] for file in files])
        assert np.array_equal(found, frames.labels[name].numpy()), name
    assert all(file["step"].tolist() == [*range(len(file["step"]))] for file in files)
    assert str(files[0]["game"]) == "pong"
    assert str(files[0]["policy"]) == "random"
    assert files[0]["actions"].tolist()[:2] == ["NOOP", "FIRE"]


def test_screens_are_images_that_the_schema_names(recordings: Path, exported: Path) -> None:
    tables = [pq.read_table(path) for path in sorted((exported / "images").glob("*/*.parquet"))]
    assert all(table.schema.equals(tables[0].schema) for table in tables)
    said = json.loads(tables[0].schema.metadata[b"huggingface"])["info"]["features"]
    assert said["screen"] == {"_type": "Image"}
    assert said["reward"] == {"dtype": "int32", "_type": "Value"}
    assert [*said] == tables[0].column_names
    shard = read_shard(recordings / "breakout" / "shard-00000.parquet")
    table = tables[0]
    for row in (0, 7, table.num_rows - 1):
        screen = table["screen"][row].as_py()
        assert screen["path"] is None
        picture = cv2.imdecode(np.frombuffer(screen["bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(picture.ravel(), shard.column("screen")[row])
        assert table["ram"][row].as_py() == bytes(shard.column("ram")[row])
    names = np.array(shard.origin.actions)[shard.column("action")]
    assert table["action_name"].to_pylist() == names.tolist()
    for name in ("action", "reward", "terminal", "truncated", "lives", "episode", "step"):
        assert np.array_equal(table[name].to_numpy(), shard.column(name))
    stored, raw = (
        sum(path.stat().st_size for path in folder.glob("*/*.parquet"))
        for folder in (exported / "images", recordings)
    )
    assert stored < 1.2 * raw


@pytest.mark.parametrize("to", ["npz", "images"])
def test_what_was_exported_before_is_kept(recordings: Path, exported: Path, to: str) -> None:
    first, second, *_ = sorted((exported / to / "pong").iterdir())
    kept = second.stat().st_ino
    content = first.read_bytes()
    first.unlink()
    run(["export", str(recordings), "--out", str(exported / to), "--to", to])
    assert second.stat().st_ino == kept
    if to == "images":  # NumPy's archives have the time in them
        assert first.read_bytes() == content
    assert first.exists()


def test_an_episode_is_found_by_its_place(recordings: Path) -> None:
    shards = [read_shard(path) for path in shard_paths(recordings / "breakout")]
    numbers = [number for shard in shards for number in np.unique(shard.column("episode"))]
    for place in (0, 4, len(numbers) - 1):
        episode = find_episode([recordings], "breakout", place)
        assert episode.number == numbers[place]
        shard: Shard = next(s for s in shards if numbers[place] in s.column("episode"))
        rows = shard.column("episode") == numbers[place]
        assert np.array_equal(episode.rows["screen"], shard.column("screen")[rows])
    with pytest.raises(UserError, match=r"breakout has 8 episodes.*choose --episode 0 to 7"):
        find_episode([recordings], "breakout", 8)
    with pytest.raises(UserError, match="choose a --game among breakout, pong"):
        find_episode([recordings], None, 0)


def test_the_film_shows_the_screen_and_what_changes_in_memory(recordings: Path) -> None:
    episode = find_episode([recordings], "pong", 0)
    first, second = (picture for picture, _ in zip(pictures(episode), range(2), strict=False))
    assert first.shape == second.shape
    screen = second[32:, :336].reshape(84, 4, 84, 4, 3)
    assert np.array_equal(screen[:, 0, :, 0, 0].ravel(), episode.rows["screen"][1])
    assert first[32:, 344:].max() < 200 < second[32:, 344:].max()  # bright: it has changed


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["webm", "mp4"])
def test_an_episode_becomes_a_film(recordings: Path, tmp_path: Path, ending: str, capsys) -> None:
    path = tmp_path / f"breakout.{ending}"
    run(["play", str(recordings), "--game", "breakout", "--episode", "2", "--out", str(path)])
    episode = find_episode([recordings], "breakout", 2)
    assert f"by random, {len(episode)} steps, return " in capsys.readouterr().out
    film = cv2.VideoCapture(str(path))
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(STEPS_PER_SECOND)
    frames = 0
    while film.grab():
        frames += 1
    assert frames == len(episode)


def test_a_film_of_another_kind_is_refused(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"p.gif: end its name in .webm or .mp4"):
        run(["play", str(recordings), "--out", str(tmp_path / "p.gif")])
    assert not any(tmp_path.iterdir())
