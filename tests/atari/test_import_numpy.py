"""Files of one's own become recordings: an episode each, checked, in the order of their names."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fovea.__main__ import run as fovea
from fovea.atari.__main__ import run
from fovea.atari.frames import LABELS, Frames
from fovea.atari.origin import COMPARED, unlike
from fovea.atari.parquet import shard_paths
from fovea.atari.recordings import open_dataset, verify
from fovea.atari.shards import Shards
from fovea.command import UserError
from pages import ROOT, blocks

RNG = np.random.default_rng(0)


def episode(steps: int = 30, **changes: object) -> dict[str, np.ndarray]:
    arrays = {
        "screen": RNG.integers(0, 256, (steps, 84, 84), dtype=np.uint8),
        "action": RNG.integers(0, 6, steps),
        "reward": RNG.integers(-1, 2, steps).astype(np.float32),
    }
    return arrays | changes


def written(folder: Path, *episodes: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for number, arrays in enumerate(episodes):
        np.savez(folder / f"{number}.npz", **arrays)
    return folder


def imported(source: Path, *options: str) -> Path:
    out = source.with_name("imported")
    run(["import", "npz", str(source), "--out", str(out), *options])
    return out


def test_a_single_file_is_a_recording_of_one_episode(tmp_path: Path) -> None:
    folder = written(tmp_path / "mine", episode(30), episode(20))
    out = imported(folder / "1.npz", "--games", "pong")
    assert len(Frames.load([out / "pong"]).screens) == 20


@pytest.mark.slow
def test_what_was_exported_comes_back(recordings: Path, tmp_path: Path) -> None:
    run(["export", str(recordings), "--out", str(tmp_path / "npz")])
    out = imported(tmp_path / "npz", "--shard-steps", "900")
    for game in ("breakout", "pong"):
        before, after = (Frames.load([folder / game]) for folder in (recordings, out))
        np.testing.assert_array_equal(after.screens, before.screens)
        for name in LABELS:
            np.testing.assert_array_equal(after.labels[name], before.labels[name], err_msg=name)
        assert len(after.episode.unique()) == len(before.episode.unique())
        assert not verify(out / game)[1]
        assert open_dataset(out / game).origin.policy_names == ["random"]
    assert len(shard_paths(out / "pong")) > 1


@pytest.mark.slow
def test_files_behind_links_are_found_and_each_counts_once(tmp_path: Path) -> None:
    """A folder elsewhere, the same one twice, a way round in a circle, and a link to a file."""
    mine = written(tmp_path / "mine", episode(30), episode(20))
    written(tmp_path / "elsewhere" / "deep", episode(25))
    for name in ("linked", "again"):
        (mine / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(mine)
    (mine / "2.npz").symlink_to(mine / "0.npz")
    (mine / "._1.npz").write_bytes(b"of a Mac")
    out = imported(mine, "--games", "pong")
    assert open_dataset(out / "pong").counts.startswith("75 steps in 3 episodes")
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "linked").symlink_to(mine)
    with pytest.raises(UserError, match="holds NumPy files and no recordings"):
        run(["ls", str(tmp_path / "all")])


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_named_or_imports_as_it_was(data: st.DataObject, tmp_path: Path) -> None:
    whole = tmp_path / "whole.npz"
    if not whole.exists():
        np.savez_compressed(whole, **episode(3), game="pong", policy="mine")
        np.savez(tmp_path / "kept.npz", **np.load(whole))
    content = bytearray(data.draw(st.sampled_from([whole, tmp_path / "kept.npz"])).read_bytes())
    place = data.draw(st.integers(0, 1500) | st.integers(len(content) - 1500, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    source = tmp_path / "mine.npz"
    source.write_bytes(content)
    shutil.rmtree(tmp_path / "imported", ignore_errors=True)
    said, out = "", tmp_path / "imported"
    try:
        imported(source)
    except UserError as refused:
        said = str(refused)
    if said:
        assert said.startswith(f"{source} is damaged, or no NumPy file of numbers (")
        assert "\n" not in said
    else:
        np.testing.assert_array_equal(Frames.load([out]).screens, np.load(whole)["screen"])


def test_how_it_was_played_is_unknown_and_agrees_with_nothing_known(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    one, two = (
        imported(written(tmp_path / name / "mine", episode()), "--games", "pong")
        for name in ("one", "two")
    )
    settings = open_dataset(one / "pong").origin.settings
    assert {settings[name] for name in COMPARED} == {"unknown"}
    capsys.readouterr()
    assert run(["ls", str(one), str(recordings), "--strict"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(
        "pong was played with different or unknown settings: sticky 0.25 and unknown, frame_skip 4 "
        "and unknown, noop_max 30 and unknown, max_frames 108000 and unknown, fire_reset 0 and "
        "unknown, full_actions 0 and unknown, mode default and unknown, difficulty default and "
        "unknown, screen '84x84 grey, as the files have them' and '84x84 grey, maximum of"
    )
    with pytest.raises(UserError, match=r"different or unknown settings: sticky 0\.25 and unknown"):
        Shards.find([one, recordings], ["pong"], strict=True)
    origin = open_dataset(one / "pong").origin
    (line,) = unlike([origin], {"sticky": 0.25, "mode": None})
    assert line.endswith("mode unknown there and None here, sticky unknown there and 0.25 here")
    assert run(["ls", str(one), "--strict"]) == 0
    assert run(["ls", str(one), str(two), "--strict"]) == 0


def test_screens_actions_and_rewards_are_enough(tmp_path: Path) -> None:
    ten = [episode(steps) for steps in (30, 20, 25, *[20] * 8)]
    out = imported(written(tmp_path / "mine", *ten), "--games", "Pong", "--shard-steps", "60")
    frames = Frames.load([out])
    np.testing.assert_array_equal(frames.screens, np.concatenate([e["screen"] for e in ten]))
    actions = np.concatenate([e["action"] for e in ten])
    np.testing.assert_array_equal(frames.labels["action"], actions)
    ends = np.cumsum([len(e["action"]) for e in ten]) - 1
    assert frames.labels["truncated"].nonzero().flatten().tolist() == ends.tolist()
    assert not frames.labels["terminal"].any()
    assert not frames.labels["ram"].any()
    assert open_dataset(out / "pong").origin.actions[1] == "FIRE"


def test_the_pages_files_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / "recordings.md"
    (made,) = (block.text for block in blocks(page, "python") if '"mine/' in block.text)
    command = "fovea atari import npz mine --out of_mine --games pong"
    assert f"    {command}\n" in page.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(made, {})
    assert not fovea(command.split()[1:])
    assert open_dataset(tmp_path / "of_mine" / "pong").counts.startswith("800 steps in 4 ep")


def test_frames_of_the_console_are_resized_and_all_18_actions_are_known(tmp_path: Path) -> None:
    frames = RNG.integers(0, 256, (12, 210, 160, 3), dtype=np.uint8)
    source = written(tmp_path / "mine", episode(12, screen=frames, action=np.full(12, 17)))
    out = imported(source, "--games", "pong")
    assert len(open_dataset(out / "pong").origin.actions) == 18
    assert Frames.load([out]).screens.shape == (12, 84, 84)


def test_the_same_command_again_makes_only_what_is_missing(tmp_path: Path) -> None:
    source = written(tmp_path / "mine", *[episode() for _ in range(4)])
    out = imported(source, "--games", "pong", "--shard-steps", "30")
    first, second, *_ = shard_paths(out / "pong")
    bytes_, kept = second.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    imported(source, "--games", "pong", "--shard-steps", "30")
    assert second.read_bytes() == bytes_
    assert first.stat().st_mtime_ns == kept
    with pytest.raises(UserError, match="give another --out"):
        imported(source, "--games", "pong", "--shard-steps", "31")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"screen": np.zeros((30, 80, 80), np.uint8)}, r"0.npz has screens of uint8 \(80, 80\)"),
        (
            {"screen": np.zeros((29, 84, 84), np.uint8)},
            r"action is \(30,\), not \(29,\): it has 29 screens",
        ),
        ({"action": np.full(30, 18)}, "action has 18: it holds whole numbers from 0 to 17"),
        ({"action": np.full(30, 0.5)}, "action has 0.5: it holds whole numbers from 0 to"),
        ({"action": np.zeros((30, 6), int)}, r"action is \(30, 6\): give a number for each screen"),
        ({"action": np.array(["x"] * 30)}, "action has x: it holds whole numbers from 0 to"),
        ({"action": np.full(30, np.nan)}, "action has nan: it holds whole numbers from 0 to"),
        ({"terminal": np.array(["no"] * 30)}, "terminal has no: it holds whole numbers from 0"),
        ({"reward": np.full(30, np.inf)}, "rewards that are no whole numbers"),
        ({"reward": np.full(30, 1e30)}, "rewards that are no whole numbers"),
        ({"reward": np.array(["1"] * 30)}, "rewards that are no whole numbers"),
        ({"ram": np.full((30, 128), 0.5)}, "ram has 0.5: it holds whole numbers from 0 to 255"),
        ({"ram": np.full((30, 128), 300)}, "ram has 300: it holds whole"),
        ({"lives": np.full(30, -1)}, "lives has -1: it holds whole"),
        (
            {"action": np.array([None] * 30)},
            "is damaged, or no NumPy file of .*: write it",
        ),
        ({"reward": np.full(30, 0.5)}, "rewards that are no whole numbers"),
        ({"reward": np.zeros(29)}, r"reward is \(29,\), not \(30,\)"),
        ({"terminal": np.arange(30) == 3}, "goes on after the end of its episode"),
        ({"ram": np.zeros((30, 127), np.uint8)}, r"ram is \(30, 127\), not \(30, 128\)"),
        ({"game": np.array("breakot")}, "did you mean breakout"),
    ],
)
def test_a_mistake_is_named(changes: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        imported(written(tmp_path / "mine", episode(**changes)), "--games", "pong")


def test_no_files_no_game_and_no_array_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.npz files"):
        imported(tmp_path / "none", "--games", "pong")
    with pytest.raises(UserError, match="say --games GAME"):
        imported(written(tmp_path / "mine", episode()))
    (tmp_path / "mine" / "1.npz").write_bytes(b"PK no")
    with pytest.raises(UserError, match=r"1\.npz is damaged, or no NumPy file"):
        imported(tmp_path / "mine", "--games", "pong")
    np.savez(tmp_path / "mine" / "1.npz", screen=np.zeros(1))
    with pytest.raises(UserError, match="has no array 'action'"):
        imported(tmp_path / "mine", "--games", "pong")
