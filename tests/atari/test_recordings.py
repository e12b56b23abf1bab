"""A recording says where it comes from, holds whole episodes, and shows every damage."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ale_py import roms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fovea.atari import ram
from fovea.atari.collect import collect
from fovea.atari.parquet import Damaged, read_columns, read_shard, shard_paths, write_shard
from fovea.atari.recordings import find_recordings, open_dataset, seal, verify
from fovea.command import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copied(recordings: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(recordings, tmp_path / "recordings")


def files(folder: Path) -> dict[str, bytes]:
    """What a recording holds, by file."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.*"))}


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def tables(folder: Path) -> list[dict[str, np.ndarray]]:
    """The shards, read by pyarrow alone."""
    return [
        {
            name: np.array([np.frombuffer(row, np.uint8) for row in column.to_pylist()])
            if name in ("screen", "ram")
            else column.to_numpy()
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
        for table in map(pq.read_table, sorted(folder.glob("shard-*.parquet")))
    ]


def test_a_shard_says_what_it_is_a_function_of(recordings: Path):
    file = pq.ParquetFile(recordings / "pong" / "shard-00001.parquet")
    says = json.loads(file.schema_arrow.metadata[b"recording"])
    assert says["game"] == "pong"
    rom = Path(roms.get_rom_path("pong")).read_bytes()
    assert says["rom_md5"] == hashlib.md5(rom).hexdigest()
    assert says["settings"] == {
        "sticky": 0.25,
        "frame_skip": 4,
        "noop_max": 30,
        "max_frames": 108_000,
        "shard_steps": 1000,
    }
    assert says["actions"] == ["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]
    assert says["policy"].startswith("random")
    assert says["seed"] == 0
    assert says["versions"].keys() == {"ale-py", "numpy", "opencv-python-headless"}
    assert says["format"] == 3


def test_shards_are_compressed_in_groups_that_a_reader_can_skip(recordings: Path):
    file = pq.ParquetFile(recordings / "pong" / "shard-00000.parquet").metadata
    groups = [file.row_group(index) for index in range(file.num_row_groups)]
    assert {group.num_rows for group in groups[:-1]} == {512}
    columns = [group.column(index) for group in groups for index in range(file.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}


@pytest.mark.parametrize(("game", "at_least"), [("breakout", 750), ("pong", 1000)])
def test_shards_hold_whole_episodes(recordings: Path, game: str, at_least: int):
    seen = set()
    for table in tables(recordings / game):
        episode, step = table["episode"], table["step"]
        over = table["terminal"] | table["truncated"]
        assert len(step) >= at_least
        for number in np.unique(episode):
            (rows,) = np.nonzero(episode == number)
            assert rows.tolist() == list(range(rows[0], rows[-1] + 1))
            assert step[rows].tolist() == list(range(len(rows)))
            assert over[rows].tolist() == [False] * (len(rows) - 1) + [True]
        assert not seen & set(episode)
        seen |= set(episode)
    assert len(seen) == open_dataset(recordings / game).episodes


def test_a_row_holds_what_was_seen_then_what_was_done_and_got(recordings: Path):
    """Pong's memory keeps the score and the paddle: they change one row after their cause."""
    byte = {variable.name: variable.byte for variable in ram.variables("pong")}
    points = 0
    pushed = {2: [], 3: []}  # by the stick to the right and to the left
    for table in tables(recordings / "pong"):
        memory = table["ram"].astype(int)
        same = np.diff(table["episode"]) == 0
        won, lost = (
            np.diff(memory[:, byte[name]])[same] for name in ("player_score", "enemy_score")
        )
        np.testing.assert_array_equal(won - lost, table["reward"][:-1][same])
        points += np.abs(won - lost).sum()
        moved = np.diff(memory[:, byte["player_y"]])
        inside = same[1:] & same[:-1]
        for action, moves in pushed.items():
            chosen = inside & (table["action"][1:-1] == action)
            moves.append(np.stack([moved[:-1][chosen], moved[1:][chosen]]))
    assert points > 20
    right, left = (np.concatenate(moves, axis=1).mean(1) for moves in pushed.values())
    before, after = np.abs(left - right)
    assert after > 4 > 3 * before


def test_memory_and_screen_of_a_row_are_of_one_moment(recordings: Path):
    byte = {variable.name: variable.byte for variable in ram.variables("pong")}["player_y"]
    table = tables(recordings / "pong")[0]
    columns = table["screen"].reshape(-1, 84, 84)[:, 14:77, 74].astype(int)
    bright = np.abs(columns - np.median(columns, axis=1, keepdims=True)) > 20
    shown = bright.any(1)
    seen = (bright * np.arange(63)).sum(1)[shown] / bright.sum(1)[shown]
    assert shown.sum() > 1000
    assert np.corrcoef(seen, table["ram"][shown, byte])[0, 1] > 0.98


def test_a_whole_recording_is_verified_with_its_counts(recordings: Path):
    for folder in find_recordings([recordings]):
        dataset, faults = verify(folder)
        assert faults == []
        assert dataset.rows == sum(len(table["step"]) for table in tables(folder))


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 100_000), data=st.data())
def test_verify_finds_any_flipped_byte(copied: Path, place: int, data):
    path = copied / "breakout" / data.draw(st.sampled_from(["shard-00000", "shard-00001"]))
    path = path.with_suffix(".parquet")
    place %= path.stat().st_size
    flip(path, place)
    _, faults = verify(copied / "breakout")
    flip(path, place)
    assert len(faults) == 1
    assert faults[0].startswith(f"{path}: ")
    assert "\n" not in faults[0]


def test_page_checksums_find_a_flipped_byte_without_the_list_of_shards(copied: Path):
    """Among the compressed screens, where many would go unseen without."""
    path = copied / "breakout" / "shard-00000.parquet"
    screens = pq.ParquetFile(path).metadata.row_group(0).column(0)
    end = screens.data_page_offset + screens.total_compressed_size
    for place in range(end - 2000, end, 100):
        flip(path, place)
        with pytest.raises(Damaged, match="it cannot be read"):
            read_shard(path)
        flip(path, place)
    assert read_shard(path).episodes == 4


@pytest.mark.parametrize("names", [None, ["reward"]])
def test_rows_that_memory_does_not_hold_are_damage(
    names: list[str] | None, copied: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of one value over and over, of which a file of some kilobytes may have any number."""
    path = copied / "pong" / "shard-00000.parquet"
    same = pa.table({"reward": np.zeros(2**20, np.int32)})
    pq.write_table(same.replace_schema_metadata(pq.read_schema(path).metadata), path)
    assert path.stat().st_size < 2**14
    monkeypatch.setattr("fovea.atari.parquet.free_memory", lambda: 2**22)
    assert len(read_columns(path, names or ["reward"]).column("reward")) == 2**20
    monkeypatch.setattr("fovea.atari.parquet.free_memory", lambda: 2**22 - 1)
    with pytest.raises(Damaged, match="it claims to hold 4,194,304 bytes, more than memory does"):
        read_shard(path) if names is None else read_columns(path, names)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.binary(max_size=40)
    | st.sampled_from([b"\xf3{}", b"[" * 100_000, b'{"format": []}', b'{"format": 2}', b"null"])
)
def test_metadata_that_is_no_origin_is_named_as_damage(copied: Path, metadata: bytes):
    """A single flipped bit of it may make bytes that are no UTF-8."""
    path = copied / "pong" / "shard-00000.parquet"
    table = pq.read_table(path).slice(0, 1)
    pq.write_table(table.replace_schema_metadata({"recording": metadata}), path)
    with pytest.raises(Damaged, match="its metadata does not say where it comes from"):
        read_shard(path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def take_another_game(path: Path) -> None:
    shutil.copy(path.parents[1] / "breakout" / "shard-00000.parquet", path)


def take_its_neighbour(path: Path) -> None:
    shutil.copy(path.with_name("shard-00001.parquet"), path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (Path.unlink, "it is missing"),
        (truncate, "it cannot be read"),
        (lambda path: path.write_bytes(b""), "it cannot be read"),
        (take_another_game, "its SHA-256 is not the one that was recorded"),
        (take_its_neighbour, "its SHA-256 is not the one that was recorded"),
    ],
)
def test_verify_names_the_shard_and_the_fix_in_one_line(copied: Path, damage, says: str):
    path = copied / "pong" / "shard-00000.parquet"
    damage(path)
    _, faults = verify(copied / "pong")
    (fault,) = faults
    assert fault.startswith(f"{path}: {says}")
    assert fault.endswith(
        "run the fovea atari collect command of pong with seed 0 again: it records this shard again"
    )
    assert "\n" not in fault


@pytest.mark.parametrize("name", ["shard-00003.parquet", "shard-00001 (copy).parquet"])
def test_verify_names_a_file_that_does_not_belong(copied: Path, name: str):
    path = copied / "pong" / name
    shutil.copy(copied / "breakout" / "shard-00001.parquet", path)
    _, faults = verify(copied / "pong")
    (fault,) = faults
    assert fault.startswith(f"{path}: _dataset.json does not list it; delete it")


@pytest.mark.evidence
@pytest.mark.slow
def test_a_process_may_end_as_soon_as_it_has_read(recordings: Path):
    """Arrow's threads may hold what was read for a moment longer than Python lives."""
    path = recordings / "pong" / "shard-00000.parquet"
    ends = f"from fovea.atari.parquet import read_shard, Path; read_shard(Path({str(path)!r}))"
    for _ in range(40):
        assert subprocess.run([sys.executable, "-c", ends], check=False).returncode == 0


@pytest.mark.slow
def test_the_command_lists_every_damage_and_ends_with_1(copied: Path):
    truncate(copied / "pong" / "shard-00000.parquet")
    (copied / "pong" / "shard-00002.parquet").unlink()
    run = subprocess.run(
        [sys.executable, "-m", "fovea", "atari", "verify", copied],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    first, second, last = run.stderr.splitlines()
    assert first.startswith(f"damaged: {copied / 'pong' / 'shard-00000.parquet'}: ")
    assert second.startswith(f"damaged: {copied / 'pong' / 'shard-00002.parquet'}: ")
    assert last == "error: faults found: 2, each named above with its fix"
    assert run.stdout.startswith(f"{copied / 'breakout'}: whole, ")
    assert run.returncode == 1


@pytest.mark.slow
def test_the_fix_that_verify_names_brings_every_byte_back(
    recordings: Path, copied: Path, capfd: pytest.CaptureFixture
):
    foreign, flipped = sorted((copied / "breakout").glob("shard-*"))
    shutil.copy(copied / "pong" / foreign.name, foreign)
    content = flipped.read_bytes()
    flip(flipped, content.rindex(b"parquet-cpp"))  # all rows can still be read
    left = copied / "breakout" / ".shard-00002.parquet.1234.tmp"
    left.write_bytes(content[:1000])
    collect(["breakout"], copied, steps=1500, shard_steps=750)
    assert files(copied / "breakout") == files(recordings / "breakout")
    assert not left.exists()
    assert capfd.readouterr().err.count("it is recorded again") == 2


@pytest.mark.parametrize("content", [None, "", "{}", '{"rows": 5}'])
def test_the_list_of_shards_can_be_made_again_from_them(
    recordings: Path, copied: Path, content: str | None
):
    path = copied / "pong" / "_dataset.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError, match=r"run the command that records it .*again"):
        verify(copied / "pong")
    collect(["pong"], copied, steps=3000, shard_steps=1000)
    assert files(copied / "pong") == files(recordings / "pong")


def test_a_shard_of_another_format_is_named_with_its_version(copied: Path):
    path = copied / "pong" / "shard-00000.parquet"
    table = pq.read_table(path)
    says = json.loads(table.schema.metadata[b"recording"]) | {"format": 4}
    pq.write_table(table.replace_schema_metadata({b"recording": json.dumps(says)}), path)
    with pytest.raises(UserError, match=r"shard-00000.parquet has format 4.*reads formats 1, 2, 3"):
        read_shard(path)


def test_rows_that_no_play_produces_are_found(copied: Path):
    """A shard that was written whole, but wrongly."""
    folder = copied / "breakout"
    path = folder / "shard-00000.parquet"
    shard = read_shard(path)
    columns = {name: shard.column(name) for name in shard.table.column_names}
    for change, says in {
        "terminal": "an episode ends in another row than its last",
        "step": "the steps of an episode do not follow each other",
        "episode": "its episodes are not numbered in the order of play",
        "action": "an action is not in the game's action set",
    }.items():
        changed = columns[change].copy()
        changed[-1:] = {"terminal": False}.get(change, 77)
        write_shard(path, columns | {change: changed}, shard.origin)
        seal(folder, map(read_shard, shard_paths(folder)))
        _, faults = verify(folder)
        assert [fault.partition(": ")[2].partition(";")[0] for fault in faults] == [says]


def test_a_folder_without_recordings_is_named_with_the_command_that_makes_them(tmp_path: Path):
    with pytest.raises(UserError, match=rf"no recordings in {tmp_path}: .*atari collect"):
        find_recordings([tmp_path])
