"""Recordings at an address of fsspec are those of a folder, checked on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from fovea.atari import remote
from fovea.atari.__main__ import run
from fovea.atari.collect import collect
from fovea.atari.frames import Frames
from fovea.atari.recordings import find_recordings, verify
from fovea.command import UserError


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    """fsspec's file system in memory, empty, and an empty cache."""
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def sent(recordings: Path, files: MemoryFileSystem) -> str:
    """The address of recordings after any tool has copied them there."""
    files.put(f"{recordings}/", "/bucket/recordings/", recursive=True)
    return "memory://bucket/recordings"


@pytest.mark.slow
def test_what_is_collected_to_an_address_are_the_files_of_a_folder(
    memory: MemoryFileSystem, recordings: Path
) -> None:
    address, there = "memory://bucket/here", "/bucket/here/breakout"
    # A call that was killed had sent one shard, and this is another machine.
    first = "shard-00000.parquet"
    memory.put_file(str(recordings / "breakout" / first), f"{there}/{first}")
    sent_at = memory.created(f"{there}/{first}")
    with pytest.raises(UserError, match="no recordings at memory://bucket/here: make some"):
        find_recordings([address])  # it has no _dataset.json yet
    collect(["breakout"], address, steps=1500, shard_steps=750, workers=1)
    assert {path.rpartition("/")[2]: memory.cat_file(path) for path in memory.find(there)} == {
        path.name: path.read_bytes() for path in (recordings / "breakout").iterdir()
    }
    assert memory.created(f"{there}/{first}") == sent_at
    collect(["breakout"], address, steps=1, shard_steps=750, workers=1)  # takes none away
    assert len(memory.find(there)) == 3


def test_frames_are_loaded_from_an_address_and_copied_once(
    memory: MemoryFileSystem, recordings: Path, capsys: pytest.CaptureFixture
) -> None:
    address = sent(recordings, memory)
    frames, here = Frames.load([address], ["breakout"]), Frames.load([recordings], ["breakout"])
    assert bool((frames.screens == here.screens).all())
    assert len(frames) == len(here)
    (copy,) = find_recordings([f"{address}/breakout"])
    assert verify(copy) == verify(recordings / "breakout")
    written = {path: path.stat().st_ino for path in copy.glob("*.parquet")}
    run(["verify", address])
    assert "memory://" not in capsys.readouterr().err
    find_recordings([f"{address}/breakout/"])
    assert {path: path.stat().st_ino for path in copy.glob("*.parquet")} == written


@pytest.mark.parametrize("fault", ["flipped", "missing", "name", "json", "empty"])
def test_what_is_wrong_at_an_address_is_named_and_nothing_of_it_is_kept(
    memory: MemoryFileSystem, recordings: Path, fault: str
) -> None:
    address = sent(recordings, memory)
    shard, listed = (f"/bucket/recordings/breakout/{name}"
                     for name in ("shard-00001.parquet", "_dataset.json"))  # fmt: skip
    content = bytearray(memory.cat_file(shard))
    content[len(content) // 2] ^= 1
    dataset = json.loads(memory.cat_file(listed))
    dataset["shards"][0]["file"] = "../../../evil.parquet"
    does = {
        "flipped": lambda: memory.pipe_file(shard, bytes(content)),
        "missing": lambda: memory.rm_file(shard),
        "name": lambda: memory.pipe_file(listed, json.dumps(dataset).encode()),
        "json": lambda: memory.pipe_file(listed, b"{"),
        "empty": lambda: memory.rm("/bucket", recursive=True),
    }
    does[fault]()
    says = {
        "flipped": "breakout/shard-00001.parquet is damaged: its SHA-256 is not the one that was",
        "missing": "breakout/shard-00001.parquet is missing, and listed in _dataset.json",
        "name": "_dataset.json is damaged: '../../../evil.parquet' is no shard's name",
        "json": "_dataset.json is damaged: run the command that made it again",
        "empty": "no recordings at memory://bucket/recordings/breakout: make some",
    }
    with pytest.raises(UserError, match=says[fault]):
        find_recordings([f"{address}/breakout"])
    kept = remote.cache(f"{address}/breakout")
    assert not (kept / "_dataset.json").exists()
    assert not (kept / "shard-00001.parquet").exists()


def test_an_address_of_no_known_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"nosuch://x cannot be opened: Protocol not known: nosuch"):
        remote.open_source("nosuch://x")
