"""What recordings hold is counted by game and policy, from the columns beside the screens."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import pyarrow.parquet as pq
import pytest

from fovea.atari.__main__ import run
from fovea.atari.collect import collect
from fovea.atari.emulator import Settings
from fovea.atari.film import BAND
from fovea.atari.origin import Policy, differences
from fovea.atari.parquet import COLUMNS, read_shard, shard_paths, write_shard
from fovea.atari.recordings import open_dataset, seal
from fovea.atari.stats import by_game, repeats, tiers
from fovea.command import UserError


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Breakout played by a policy that keeps its actions, cut early and without sticky actions."""
    folder = tmp_path_factory.mktemp("kept")
    settings = Settings(sticky=0, max_frames=400)
    collect(["breakout"], folder, steps=1, shard_steps=250, keep=0.5, settings=settings)
    return folder


def test_episodes_are_counted_as_their_rows_say(recordings: Path) -> None:
    paths = sorted((recordings / "pong").glob("*.parquet"))
    rows = [row for path in paths for row in pq.read_table(path).drop(["screen"]).to_pylist()]
    returns: dict[int, int] = {}
    for row in rows:
        returns[row["episode"]] = returns.get(row["episode"], 0) + row["reward"]
    (tier,) = tiers(recordings / "pong", open_dataset(recordings / "pong"))
    assert tier.policy == "random"
    assert tier.returns.tolist() == list(returns.values())
    assert tier.steps == len(rows)
    assert tier.truncated == 0
    names = ["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]
    counts = [sum(row["action"] == action for row in rows) for action in range(6)]
    assert tier.actions == dict(zip(names, counts, strict=True))


def test_recordings_of_a_game_are_put_together_by_policy(recordings: Path, kept: Path) -> None:
    folders = [recordings / "breakout", kept / "breakout", recordings / "breakout"]
    found = by_game(folders)["breakout"]
    assert [tier.policy for tier in found] == ["random", "random keep 0.5"]
    assert found[0].steps == 2 * open_dataset(recordings / "breakout").rows
    assert found[1].truncated == len(found[1].returns) == 3


def by(folder: Path, of: Path, name: str, sha256: str = "", source: str = "") -> Path:
    """A recording whose rows are those of another, by an agent."""
    agent = Policy(name, "DQN", "dqn", "last.ckpt", sha256, 32, 0.0, "", {})
    shards = []
    for path in shard_paths(of):
        shard = read_shard(path)
        origin = replace(shard.origin, policies=[agent], source=source)
        columns = {column: shard.column(column) for column in COLUMNS.names}
        write_shard(folder / path.name, columns, origin)
        shards.append(read_shard(folder / path.name))
    seal(folder, shards)
    return folder


def test_agents_of_one_name_are_one_where_their_checkpoints_are(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """`a/dqn` and `b/dqn` are both called dqn; what was imported has no checkpoints."""
    breakout, name, one, other = recordings / "breakout", "dqn@32 last eps 0", "1" * 64, "2" * 64
    made = {
        "a": by(tmp_path / "a", breakout, name, one),
        "a_again": by(tmp_path / "a_again", breakout, name, one),
        "b": by(tmp_path / "b", breakout, name, other),
        "mine": by(tmp_path / "mine", breakout, "unknown", source="NumPy: mine"),
        "theirs": by(tmp_path / "theirs", breakout, "unknown", source="NumPy: theirs"),
    }
    steps = open_dataset(breakout).rows

    def told(*recordings: str) -> dict[str, int]:
        return {t.policy: t.steps for t in by_game(made[one] for one in recordings)["breakout"]}

    assert told("a", "a_again") == {name: 2 * steps}
    assert told("a", "a_again", "b") == {
        f"{name} (111111111111)": 2 * steps, f"{name} (222222222222)": steps,
    }  # fmt: skip
    assert told("mine", "theirs") == {
        "unknown (NumPy: mine)": steps, "unknown (NumPy: theirs)": steps,
    }  # fmt: skip
    assert told("a", "mine") == {name: steps, "unknown": steps}
    run(["stats", str(made["a"]), str(made["b"])])
    assert f"  {name} (222222222222) " in capsys.readouterr().out


def test_screens_that_are_made_otherwise_are_compared(recordings: Path, tmp_path: Path) -> None:
    origin = open_dataset(recordings / "pong").origin
    other = replace(origin, screen="64x64 grey")
    assert list(differences([origin, origin])) == []
    (line,) = differences([origin, other])
    assert line == (
        "pong was played with different settings: screen '64x64 grey' and '84x84 grey, maximum of "
        "the last two frames, area resize'"
    )


@pytest.mark.parametrize("odd", [[1], {"a": 1}, 10**400, "\x1b", float("nan")])
def test_settings_of_any_kind_are_compared(recordings: Path, odd: object) -> None:
    origin = open_dataset(recordings / "pong").origin
    other = replace(origin, settings=origin.settings | {"sticky": odd})
    (line,) = differences([origin, other])
    assert line.startswith("pong was played with different settings: sticky ")


def test_ls_and_verify_list_what_is_damaged_and_go_on(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name in ("a_list", "b_shard", "c_unfinished", "d_whole"):
        shutil.copytree(recordings / "pong", tmp_path / name)
    (tmp_path / "a_list" / "_dataset.json").write_text("{")
    shard = tmp_path / "b_shard" / "shard-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-50])
    (tmp_path / "c_unfinished" / "_dataset.json").unlink()
    says = [
        f"damaged: {tmp_path}/a_list/_dataset.json is damaged: delete it and run",
        f"damaged: {shard}: it cannot be read",
        f"unfinished: {tmp_path}/c_unfinished has no _dataset.json, so it is not finished",
        f"{tmp_path}/d_whole: ",
    ]
    assert run(["ls", str(tmp_path)]) == 1
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 5
    for line, begin in zip(listed, says, strict=False):
        assert line.startswith(begin)
    assert run(["verify", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"{tmp_path}/d_whole: whole, ")
    *faults, last = said.err.splitlines()
    for line, begin in zip(faults, says[:3], strict=True):
        assert line.startswith(begin)
    assert last == "error: faults found: 3, each named above with its fix"
    assert not run(["ls", str(tmp_path / "d_whole")])
    assert not run(["verify", str(tmp_path / "d_whole")])


def test_screens_are_not_read(recordings: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(recordings / "breakout", tmp_path / "breakout")
    before = [tier.returns.tolist() for tier in by_game([folder])["breakout"]]
    path = folder / "shard-00000.parquet"
    screens = pq.ParquetFile(path).metadata.row_group(0).column(0)
    content = bytearray(path.read_bytes())
    content[screens.data_page_offset + screens.total_compressed_size - 100] ^= 1
    path.write_bytes(content)
    assert [tier.returns.tolist() for tier in by_game([folder])["breakout"]] == before
    path.write_bytes(content[:-50])
    with pytest.raises(UserError, match=rf"^{path}: it cannot be read .*fovea atari verify"):
        by_game([folder])


def test_ls_lists_policies_and_names_the_settings_that_differ(
    recordings: Path, kept: Path, capsys: pytest.CaptureFixture
) -> None:
    run(["ls", str(recordings)])
    alone = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in alone] == [
        f"{recordings}/breakout:", "random", f"{recordings}/pong:", "random",
    ]  # fmt: skip
    run(["ls", str(recordings), str(kept)])
    *_, policy, last = capsys.readouterr().out.splitlines()
    assert policy.split()[:6] == ["random", "keep", "0.5", "300", "steps", "3"]
    assert last == (
        "breakout was played with different settings: sticky 0 and 0.25, max_frames 400 and 108000"
    )


def test_screens_that_occurred_before_are_counted(
    recordings: Path, capsys: pytest.CaptureFixture
) -> None:
    screens = [
        screen
        for path in sorted((recordings / "breakout").glob("*.parquet"))
        for screen in pq.read_table(path)["screen"].to_pylist()
    ]
    again = len(screens) - len(set(screens))
    assert again > 0
    breakout = recordings / "breakout"
    assert repeats([breakout]) == {"breakout": (len(screens), again)}
    assert repeats([breakout, breakout]) == {
        "breakout": (2 * len(screens), again + len(screens)),
    }
    run(["stats", str(breakout), "--duplicates"])
    assert f"breakout: {again:,} of {len(screens):,} screens (" in capsys.readouterr().out


def test_a_picture_shows_screens_of_each_policy(
    recordings: Path, kept: Path, tmp_path: Path
) -> None:
    path = tmp_path / "screens.png"
    run(["stats", str(recordings), str(kept), "--picture", str(path)])
    height, width = BAND + 2 * 84 + 4, 8 * (2 * 84 + 4)  # of a policy
    picture = cv2.imread(str(path))
    assert picture.shape == (3 * height, width, 3)
    screens = {
        screen
        for path in (recordings / "pong").glob("*.parquet")
        for screen in pq.read_table(path)["screen"].to_pylist()
    }
    row = picture[height : 2 * height][BAND:, :, 0]  # Pong's
    shown = [row[: 2 * 84 : 2, left : left + 2 * 84 : 2] for left in range(0, width, 2 * 84 + 4)]
    assert len({screen.tobytes() for screen in shown}) == 8
    assert {screen.tobytes() for screen in shown} <= screens
    with pytest.raises(UserError, match=r"cannot be called screens.gif: end its name in .png"):
        run(["stats", str(recordings), "--picture", "screens.gif"])


def test_stats_show_returns_and_actions(recordings: Path, capsys: pytest.CaptureFixture) -> None:
    run(["stats", str(recordings)])
    breakout, head, row, actions, shares, pong, *_ = capsys.readouterr().out.splitlines()
    assert breakout == "breakout (the random agent 1.7, a human tester 30.5)"
    assert head.split()[:2] == ["policy", "steps"]
    assert row.split()[0] == "random"
    assert row.split()[2] == "8"
    assert actions.split()[-4:] == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    assert sum(map(float, shares.split()[1:])) == pytest.approx(100, abs=0.2)
    assert pong.startswith("pong ")
