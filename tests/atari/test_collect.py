"""Collecting is a function of the games and settings, whatever stops it or shares the work."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fovea.atari.collect import collect, origin, record
from fovea.atari.emulator import Settings
from fovea.atari.parquet import read_shard
from fovea.atari.recordings import open_dataset
from fovea.command import UserError
from fovea.files import exclusive

ROOT = Path(__file__).parents[2]


def command(out: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "fovea", "atari", "collect", *arguments, "--out", str(out)]


def run(command: list[str], **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)


def everything(folder: Path) -> dict[str, bytes]:
    """All that a folder holds but its lock, by path."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}


def shards(out: Path) -> list[Path]:
    return sorted(out.glob("*/shard-*.parquet"))


@pytest.mark.slow
def test_any_number_of_workers_records_the_same_bytes(tmp_path: Path):
    for workers in (1, 2):
        collect(
            ["breakout", "freeway"],
            tmp_path / str(workers),
            steps=160,
            settings=Settings(max_frames=200),
            shard_steps=80,
            workers=workers,
        )
    assert len(shards(tmp_path / "1")) == 4
    assert everything(tmp_path / "1") == everything(tmp_path / "2")


@pytest.mark.slow
def test_seeds_games_and_shards_are_played_in_other_ways(recordings: Path, tmp_path: Path):
    collect(["breakout"], tmp_path, steps=1, shard_steps=750, seed=1, workers=1)
    played = [
        (bytes(shard.column("screen")[:200]), bytes(shard.column("action")[:200]))
        for shard in map(read_shard, [*shards(tmp_path), *shards(recordings)])
    ]
    for parts in zip(*played, strict=True):  # screens alone, and actions alone
        assert len(set(parts)) == 6


def test_what_is_recorded_by_default_stays_what_it_was(recordings: Path):
    """Hashes of version 0.2: a killed collection of that time can still go on."""
    table = pq.read_table(recordings / "breakout" / "shard-00000.parquet", partitioning=None)
    content = hashlib.sha256()
    table = table.drop(["game", "policy"])  # younger, and so is the game in the number of episodes
    episodes = pa.array(np.array(table["episode"]) % 10**12)
    table = table.set_column(table.column_names.index("episode"), "episode", episodes)
    for column in table.columns:
        for value in column.to_pylist():
            content.update(value if isinstance(value, bytes) else str(value).encode())
    assert content.hexdigest() == "cfd943264ae91a235beaa2fa643455bc3d9b47f853ed66bb21889d8e062a68bb"
    says = json.loads(table.schema.metadata[b"recording"])
    del says["versions"]
    assert says == {
        "actions": ["NOOP", "FIRE", "RIGHT", "LEFT"],
        "format": 3,
        "game": "breakout",
        "policy": "random: uniform over the minimal action set",
        "rom_md5": "f34f08e5eb96e500e851a80be3277a56",
        "screen": "84x84 grey, maximum of the last two frames, area resize",
        "seed": 0,
        "settings": {
            "frame_skip": 4,
            "max_frames": 108000,
            "noop_max": 30,
            "shard_steps": 750,
            "sticky": 0.25,
        },
    }


@pytest.mark.slow
def test_a_policy_keeps_its_action_with_the_chance_that_is_asked_for():
    kept = origin("breakout", Settings(), seed=0, shard_steps=2000, keep=0.8)
    assert kept.settings["keep"] == 0.8
    assert kept.policy_names == ["random keep 0.8"]
    rows = record(kept, 0)
    action, step = rows["action"], rows["step"]
    same = (action[1:] == action[:-1])[step[1:] > 0]
    assert same.mean() == pytest.approx(0.8 + 0.2 / 4, abs=0.02)
    assert len(set(action[step == 0])) > 1
    assert np.bincount(action) / len(action) == pytest.approx([0.25] * 4, abs=0.08)


@pytest.mark.slow
def test_more_steps_add_shards_to_those_that_are_there(recordings: Path, tmp_path: Path, capfd):
    shorter = shutil.copytree(recordings / "breakout", tmp_path / "breakout")
    (shorter / "shard-00001.parquet").unlink()
    first = collect(["breakout"], tmp_path, steps=1500, shard_steps=750)
    assert "breakout: 1 shards are complete, 1 to record" in capfd.readouterr().err
    again = collect(["breakout"], tmp_path, steps=1, shard_steps=750)  # takes none away
    assert "breakout: 2 shards are complete, 0 to record" in capfd.readouterr().err
    assert first == again == [open_dataset(recordings / "breakout")]


@pytest.mark.slow
def test_a_kill_loses_no_sealed_shard_and_changes_nothing(tmp_path: Path):
    arguments = "breakout", "--steps", "800", "--shard-steps", "100", "--workers", "2"
    whole = run(command(tmp_path / "whole", *arguments))
    assert whole.returncode == 0, whole.stderr

    out = tmp_path / "killed"
    with open(tmp_path / "log", "w") as log:
        killed = subprocess.Popen(command(out, *arguments), cwd=ROOT, stderr=log)
        while len(shards(out)) < 2:
            assert killed.poll() is None
            time.sleep(0.005)
        killed.kill()
        killed.wait()
    assert not (out / "breakout" / "_dataset.json").exists()
    again = run(command(out, *arguments))  # at once, while workers of the other may still end
    assert again.returncode == 0, again.stderr
    said = re.search(r"breakout: (\d+) shards are complete, (\d+) to record", again.stderr)
    kept, missing = map(int, said.groups())
    assert kept >= 2
    assert missing >= 1
    assert kept + missing == 8
    assert "it is recorded again" not in again.stderr
    assert everything(out) == everything(tmp_path / "whole")

    before = {path: path.stat().st_ino for path in shards(out)}
    done = run(command(out, *arguments))
    assert done.returncode == 0, done.stderr
    assert "breakout: 8 shards are complete, 0 to record" in done.stderr
    assert {path: path.stat().st_ino for path in shards(out)} == before


@pytest.mark.evidence
@pytest.mark.slow
def test_sigterm_stops_at_once_keeps_what_is_finished_and_changes_nothing(tmp_path: Path):
    arguments = "breakout", "--steps", "800", "--shard-steps", "100", "--workers", "2"
    out = tmp_path / "stopped"
    stopped = subprocess.Popen(
        command(out, *arguments), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    while len(shards(out)) < 2:
        assert stopped.poll() is None
        time.sleep(0.005)
    stopped.terminate()
    _, said = stopped.communicate()
    assert stopped.returncode == 143
    assert said.splitlines()[-1] == "terminated: run the same command again to go on"
    assert "Traceback" not in said
    kept = {path: path.read_bytes() for path in shards(out)}
    assert 2 <= len(kept) < 8
    assert not list(out.glob("*/.*.tmp"))
    again = run(command(out, *arguments))
    assert again.returncode == 0, again.stderr
    assert {path: path.read_bytes() for path in kept} == kept
    collect(["breakout"], tmp_path / "whole", steps=800, shard_steps=100, workers=1)
    assert everything(out) == everything(tmp_path / "whole")


def started(out: Path, *arguments: str) -> tuple[subprocess.Popen[str], int]:
    """A command that records, and the process of its first worker."""
    playing = subprocess.Popen(
        command(out, *arguments), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    children = Path(f"/proc/{playing.pid}/task/{playing.pid}/children")
    workers = []
    while not workers:
        assert playing.poll() is None
        workers = [
            int(pid)
            for pid in children.read_text().split()
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
    return playing, workers[0]


@pytest.mark.slow
def test_a_worker_that_does_not_answer_keeps_nobody_waiting(tmp_path: Path):
    """As one that still loads an agent, when a signal ends the command."""
    playing, worker = started(tmp_path / "out", "pong", "--steps", "4000", "--workers", "1")
    os.kill(worker, signal.SIGSTOP)
    playing.send_signal(signal.SIGTERM)
    _, said = playing.communicate(timeout=120)
    assert playing.returncode == 143
    assert said.splitlines()[-1] == "terminated: run the same command again to go on"
    assert not Path(f"/proc/{worker}").exists()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_said_with_the_fix(tmp_path: Path):
    arguments = "pong", "--steps", "4000", "--workers", "1"
    playing, worker = started(tmp_path / "out", *arguments)
    os.kill(worker, signal.SIGKILL)
    _, said = playing.communicate()
    assert playing.returncode == 2
    assert said.splitlines()[-1] == (
        "error: a recording process was killed, most often because memory ran out: "
        "free some or use fewer --workers, and run the same command again"
    )
    assert shards(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"settings": Settings(sticky=0.0)}, "sticky 0.25, not 0.0: .* or sticky 0.25$"),
        ({"seed": 3}, "seed 0, not 3: give another --out, or seed 0$"),
        ({"keep": 0.5}, "keep 0.0, not 0.5: give another --out, or keep 0.0$"),
        ({"settings": Settings(mode=4)}, "mode None, not 4: give another --out, or mode None$"),
        ({"shard_steps": 500}, "shard_steps 750, not 500: .* or shard_steps 750$"),
    ],
)
def test_a_recording_made_in_another_way_is_left_as_it_is(recordings: Path, changed, says: str):
    before = everything(recordings)
    with pytest.raises(UserError, match=says) as mistake:
        collect(["breakout"], recordings, **({"steps": 3000, "shard_steps": 750} | changed))
    shard = recordings / "breakout" / "shard-00000.parquet"
    assert str(mistake.value).startswith(f"{shard} was recorded with ")
    assert everything(recordings) == before


@pytest.mark.slow
def test_a_mode_and_a_difficulty_are_played_and_stay_on_record(tmp_path: Path) -> None:
    settings = "--mode", "1", "--difficulty", "1", "--workers", "1"
    done = run(
        command(tmp_path / "hard", "pong", "--steps", "100", "--shard-steps", "100", *settings)
    )
    assert done.returncode == 0, done.stderr
    collect(["pong"], tmp_path / "usual", steps=100, shard_steps=100, workers=1)
    hard, usual = (open_dataset(tmp_path / name / "pong") for name in ("hard", "usual"))
    assert (hard.origin.settings["mode"], hard.origin.settings["difficulty"]) == (1, 1)
    assert hard.sha256 != usual.sha256
    columns = [
        read_shard(tmp_path / name / "pong" / "shard-00000.parquet") for name in ("hard", "usual")
    ]
    assert not np.array_equal(columns[0].column("ram")[50], columns[1].column("ram")[50])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("pong", "breakot"), "unknown game 'breakot': did you mean breakout?"),
        (("pong", "--steps", "0"), "argument --steps: invalid positive value: '0'"),
        (("pong", "--keep", "1.5"), "argument --keep: invalid probability value: '1.5'"),
        (("pong", "--mode", "7"), "error: pong has no mode 7: choose among 0, 1"),
        (("pong", "--difficulty", "7"), "error: pong has no difficulty 7: choose among 0, 1, 2, 3"),
        (("pong", "--sticky", "2"), "argument --sticky: invalid probability value: '2'"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(tmp_path: Path, arguments, says: str):
    refused = run(command(tmp_path / "out", *arguments))
    assert refused.returncode == 2
    assert says in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_full_disk_is_said_in_one_line_and_leaves_nothing_partial(tmp_path: Path):
    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))

    arguments = "breakout", "--steps", "150", "--shard-steps", "150"
    full = run(command(tmp_path, *arguments), preexec_fn=small_files)
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    last = full.stderr.splitlines()[-1]
    assert last.startswith("error: the disk is full (")
    assert "shard-00000.parquet" in last
    assert everything(tmp_path) == {}


@pytest.mark.slow
def test_a_folder_that_another_process_records_into_is_refused(tmp_path: Path):
    with exclusive(tmp_path):
        refused = run(command(tmp_path, "pong"))
    assert refused.returncode == 2
    assert refused.stderr == (
        f"error: {tmp_path} is in use by process {os.getpid()}: "
        "wait until it ends, or give another folder\n"
    )
    assert everything(tmp_path) == {}
