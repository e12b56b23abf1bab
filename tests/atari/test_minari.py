"""Recordings go to Minari and come back to the byte; its own data sets become recordings."""

from __future__ import annotations

import json
from pathlib import Path

import ale_py
import cv2
import gymnasium
import numpy as np
import pytest

pytest.importorskip("minari", reason="pip install 'fovea-rl[minari]'")
import minari
from gymnasium.spaces import Box, Discrete
from minari.data_collector.episode_buffer import EpisodeBuffer

from fovea.atari.__main__ import run
from fovea.atari.import_minari import import_minari, screens
from fovea.atari.origin import COMPARED, IMPLIED
from fovea.atari.parquet import read_shard, shard_paths
from fovea.atari.recordings import verify
from fovea.command import UserError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Minari keeps data sets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_recording_comes_back_to_the_byte(
    recordings: Path,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    run(["export", str(recordings / "breakout"), "--out", root.name, "--to", "minari"])
    data = minari.load_dataset("fovea/breakout-v0")
    shard = read_shard(recordings / "breakout" / "shard-00000.parquet")
    episode = data[0]
    length = len(episode.rewards)
    seen = shard.column("screen")[:length].reshape(-1, 84, 84)
    assert np.array_equal(episode.observations[:-1], seen)
    assert np.array_equal(episode.observations[-1], seen[-1])
    assert np.array_equal(episode.infos["ram"][:-1], shard.column("ram")[:length])
    assert np.array_equal(episode.actions, shard.column("action")[:length])
    run(["import", "minari", "fovea/breakout-v0", "--out", str(tmp_path / "again")])
    assert contents(tmp_path / "again" / "breakout") == contents(recordings / "breakout")
    said = capsys.readouterr().out.splitlines()
    assert said[0].partition(": ")[2] == said[1].partition(": ")[2]  # as many steps and episodes
    # What was exported before is not written again, and a shard that is missing comes back.
    before = (root / "fovea" / "breakout-v0" / "data" / "metadata.json").stat().st_ino
    run(["export", str(recordings / "breakout"), "--out", str(root), "--to", "minari"])
    assert (root / "fovea" / "breakout-v0" / "data" / "metadata.json").stat().st_ino == before
    (tmp_path / "again" / "breakout" / "shard-00001.parquet").unlink()
    import_minari(str(root / "fovea" / "breakout-v0"), tmp_path / "again")
    assert contents(tmp_path / "again" / "breakout") == contents(recordings / "breakout")


def test_a_damaged_origin_is_named_and_a_torn_data_set_written_again(
    recordings: Path, tmp_path: Path
):
    root = tmp_path / "minari"
    export = ["export", str(recordings / "breakout"), "--out", str(root), "--to", "minari"]
    run(export)
    path = root / "fovea" / "breakout-v0" / "data" / "metadata.json"
    whole = path.read_text()
    path.write_text(json.dumps(json.loads(whole) | {"fovea_origin": "{"}))
    with pytest.raises(UserError, match="damaged 'fovea_origin' in its metadata: export it again"):
        import_minari(str(root / "fovea" / "breakout-v0"), tmp_path / "again")
    path.write_text(whole[:-20])
    run(export)
    assert path.read_text() == whole


def made(shape: tuple[int, ...], lengths: list[int], actions: int = 4, **options) -> str:
    """A data set as others make them, of smooth pictures; its id."""
    draws = np.random.default_rng(0)
    buffers = []
    for number, length in enumerate(lengths):
        small = draws.integers(0, 256, (length + 1, 5, 4, 3), np.uint8)
        large = np.stack([cv2.resize(one, shape[1::-1]) for one in small]).reshape(-1, *shape)
        buffers.append(
            EpisodeBuffer(
                id=number, observations=large, actions=draws.integers(0, actions, length),
                rewards=draws.integers(-1, 2, length).astype(np.float64),
                terminations=np.arange(length) == (length - 1 if number else -1),
                truncations=np.zeros(length, bool),
            )
        )  # fmt: skip
    minari.create_dataset_from_buffers(
        "atari/breakout/made-v0", buffers, observation_space=Box(0, 255, shape, np.uint8),
        action_space=Discrete(actions), data_format="arrow", algorithm_name="PPO", **options,
    )  # fmt: skip
    return "atari/breakout/made-v0"


@pytest.mark.slow
def test_jpeg_observations_are_decoded_and_cut_into_shards(root: Path, tmp_path: Path) -> None:
    name = made((210, 160, 3), [30, 20, 25])
    with pytest.raises(UserError, match="does not name its environment: say --games GAME"):
        import_minari(name, tmp_path / "out")
    (dataset,) = import_minari(name, tmp_path / "out", game="Breakout", shard_steps=40)
    assert (dataset.rows, dataset.episodes, len(dataset.shards)) == (75, 3, 2)
    assert verify(tmp_path / "out" / "breakout")[1] == []
    first, second = map(read_shard, shard_paths(tmp_path / "out" / "breakout"))
    frame = minari.load_dataset(name)[2].observations[3]  # as Minari decodes it
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    wanted = cv2.resize(grey, (84, 84), interpolation=cv2.INTER_AREA)
    assert np.array_equal(second.column("screen")[3], wanted.ravel())
    assert first.column("truncated").nonzero()[0].tolist() == [29]  # the first had no end
    assert first.column("terminal").nonzero()[0].tolist() == [49]
    assert first.origin.policy_names == [f"minari/{name}"]
    assert first.table["ram"].null_count == 50


@pytest.mark.slow
def test_settings_are_those_that_the_data_set_names(root: Path, tmp_path: Path) -> None:
    """What it does not name is unknown, also where Fovea has a default."""
    gymnasium.register_envs(ale_py)

    def played(**options: object) -> gymnasium.Env:
        return gymnasium.make("ALE/Breakout-v5", repeat_action_probability=0.1, **options)

    def settings(**options: object) -> dict[str, object]:
        name = made((84, 84, 1), [3], jpeg_encoding=False, **options)
        out = tmp_path / f"out{len([*tmp_path.iterdir()])}"
        (dataset,) = import_minari(name, out, game="breakout")
        minari.delete_dataset(name)
        return {name: (IMPLIED | dataset.origin.settings)[name] for name in COMPARED}

    unknown = dict.fromkeys(COMPARED, "unknown") | {"full_actions": False}
    assert settings() == unknown
    said = {"sticky": 0.1, "max_frames": 108_000, "mode": None, "difficulty": None}
    assert settings(env=played(frameskip=3)) == unknown | said | {"frame_skip": 3}
    assert settings(env=played(frameskip=(2, 5))) == unknown | said
    wrapped = gymnasium.wrappers.AtariPreprocessing(played(frameskip=1), frame_skip=4)
    assert settings(env=wrapped) == unknown | said


def test_a_data_set_of_another_game_is_refused(root: Path, tmp_path: Path) -> None:
    name = made((84, 84, 1), [3], actions=7, jpeg_encoding=False)
    with pytest.raises(UserError, match="has 7 actions, and breakout 4 or 18: is it of this game"):
        import_minari(name, tmp_path / "out", game="breakout")
    (tmp_path / "damaged").mkdir()
    with pytest.raises(UserError, match="damaged is no data set of Minari that can be opened"):
        import_minari(str(tmp_path / "damaged"), tmp_path / "out")
    with pytest.raises(UserError, match=r"there is no folder .*nothing-v0: give one with"):
        import_minari(str(tmp_path / "nothing-v0"), tmp_path / "out")  # nor looked for elsewhere
    assert not (tmp_path / "out").exists()


def test_of_a_stack_the_newest_screen_is_taken_and_other_shapes_are_refused() -> None:
    seen = np.arange(2 * 4 * 84 * 84, dtype=np.uint32).astype(np.uint8).reshape(2, 4, 84, 84)
    assert np.array_equal(screens(seen, "episode 0"), seen[:, -1].reshape(2, -1))
    with pytest.raises(
        UserError, match=r"episode 0 has screens of uint8 \(4, 80, 80\): known are uint8"
    ):
        screens(seen[..., :80, :80], "episode 0")
