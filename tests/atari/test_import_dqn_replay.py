"""What comes out of DQN Replay's files is what the agents saw: whole episodes, each row once."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.atari.__main__ import run
from fovea.atari.dqn_replay import segments, stretches
from fovea.atari.frames import Frames
from fovea.atari.import_dqn_replay import import_dqn_replay
from fovea.atari.parquet import read_shard, shard_paths
from fovea.atari.recordings import open_dataset, verify
from fovea.atari.stats import by_game
from fovea.command import UserError

CAPACITY, LONGEST = 60, 25


@dataclass
class Buffer:
    """Dopamine's circular buffer, which stores a screen for each step and writes logs of itself.

    Screens hold the number of their step in their first bytes; padding is number 0.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    fill: int = 0  # numbers the logs
    added: int = 0
    after_terminal: bool = True

    def __post_init__(self):
        rng = np.random.default_rng(0)
        self.rows = {  # what was never written is whatever memory held
            "observation": rng.integers(256, size=(CAPACITY, 84, 84), dtype=np.uint8),
            "action": np.zeros(CAPACITY, np.int32),
            "reward": np.zeros(CAPACITY, np.float32),
            "terminal": np.zeros(CAPACITY, np.uint8),
        }

    def add(self, number: int, terminal: bool) -> None:
        if self.after_terminal:
            for _ in range(3):
                self._add(0, False)
        self._add(number, terminal)
        self.after_terminal = terminal

    def _add(self, number: int, terminal: bool) -> None:
        at = self.added % CAPACITY
        screen = np.zeros((84, 84), np.uint8)
        if number:
            screen[:40] = number % 251
            screen.reshape(-1)[:4] = np.array([number], np.int32).view(np.uint8)
        for kind, value in {
            "observation": screen,
            "action": number % 4,
            "reward": number % 3 - 1 if number else 0,
            "terminal": terminal,
        }.items():
            self.rows[kind][at] = value
        self.added += 1
        if self.added % CAPACITY == CAPACITY - 1:
            self.log(self.fill)
            self.fill += 1

    def log(self, checkpoint: int) -> None:
        for kind, values in (*self.rows.items(), ("add_count", np.array(self.added))):
            plain = io.BytesIO()
            np.save(plain, values)
            store = "" if kind == "add_count" else "$store$_"
            name = f"{store}{kind}_ckpt.{checkpoint}.gz"
            self.files[name] = gzip.compress(plain.getvalue(), 1)


@dataclass
class Played:
    """Episodes as they were played: the numbers of their steps, and whether they ended."""

    episodes: list[tuple[range, bool]]
    files: dict[str, bytes]


def played(seed: int, fills: int = 4, last: bool = True) -> Played:
    """Episodes of 1 to LONGEST steps until the buffer was filled so often, and a bit more.

    The checkpoint at the end is number 50, as if those before were 50 - fills and so on.
    """
    rng, buffer, episodes, number = np.random.default_rng(seed), Buffer(), [], 1
    buffer.fill = 50 - fills if last else 0
    # The last episode does not fill it once more, or rows would be lost before the last checkpoint.
    while buffer.added < fills * CAPACITY + rng.integers(5, CAPACITY - LONGEST - 5):
        length = int(rng.integers(1, LONGEST + 8))
        steps = range(number, number + min(length, LONGEST))
        episodes.append((steps, length <= LONGEST))
        for step in steps:
            buffer.add(step, step == steps[-1] and length <= LONGEST)
        number = steps.stop
    if last:
        buffer.log(50)
    return Played(episodes, buffer.files)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def rows(folder: Path) -> Iterator[dict[str, np.ndarray]]:
    """The imported episodes: numbers of steps, actions, rewards, terminals, truncations."""
    for path in shard_paths(folder):
        shard = read_shard(path)
        number = np.ascontiguousarray(shard.column("screen")[:, :4]).view(np.int32)[:, 0]
        columns = {name: shard.column(name) for name in ("action", "reward", "terminal")}
        columns |= {"truncated": shard.column("truncated"), "number": number}
        for episode in np.unique(shard.column("episode")):
            yield {k: v[shard.column("episode") == episode] for k, v in columns.items()}


def in_order(played: Played, checkpoint: int) -> np.ndarray:
    """The numbers of the steps in a checkpoint's file, as they were played, 0 for padding."""
    arrays = {
        kind: np.load(io.BytesIO(gzip.decompress(played.files[f"{kind}_ckpt.{checkpoint}.gz"])))
        for kind in ("$store$_observation", "add_count")
    }
    screens, added = arrays.values()
    written = np.roll(screens, -int(added), axis=0)[-int(min(added, CAPACITY)) :]
    return np.ascontiguousarray(written.reshape(len(written), -1)[:, :4]).view(np.int32)[:, 0]


@pytest.mark.slow
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), shard_steps=st.sampled_from([1, 30, 1000]))
def test_every_step_comes_once_in_its_place(
    tmp_path_factory: pytest.TempPathFactory, seed: int, shard_steps: int
) -> None:
    folder = tmp_path_factory.mktemp("replay")
    truth = played(seed)
    write(folder / "Breakout" / "1" / "replay_logs", truth.files)
    out = folder / "out"
    import_dqn_replay(str(folder), out, shard_steps=shard_steps, longest=LONGEST)
    assert verify(out / "breakout")[1] == []
    found = list(rows(out / "breakout"))
    numbers = np.concatenate([episode["number"] for episode in found])
    assert len(set(numbers.tolist())) == len(numbers)
    begins = {steps.start: (steps, ended) for steps, ended in truth.episodes}
    whole = set()
    for episode in found:
        steps, ended = begins[episode["number"][0]]
        assert episode["number"].tolist() == [*steps][: len(episode["number"])]
        assert episode["action"].tolist() == [step % 4 for step in episode["number"]]
        assert episode["reward"].tolist() == [step % 3 - 1 for step in episode["number"]]
        complete = len(episode["number"]) == len(steps)
        assert episode["terminal"][-1] == (complete and ended)
        assert episode["truncated"][-1] == (not episode["terminal"][-1])
        if complete:
            whole.add(steps.start)
    before: set[int] = set()
    terminals = {steps[-1] for steps, ended in truth.episodes if ended}
    for checkpoint in (46, 47, 48, 49, 50):
        steps_here = [n for n in in_order(truth, checkpoint).tolist() if n and n not in before]
        before |= set(steps_here)
        known = checkpoint == 46  # where an episode begins, from the start or the first terminal on
        for step in steps_here:
            if known and step in begins and set(begins[step][0]) <= set(steps_here):
                assert step in whole
            known |= step in terminals


def test_from_an_address_of_fsspec_each_checkpoint_is_a_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    files = fsspec.filesystem("memory")
    for name, content in played(3).files.items():
        files.pipe(f"/dqn/MsPacman/2/replay_logs/{name}", content)
    files.pipe("/dqn/Carnival/1/replay_logs/$store$_action_ckpt.0.gz", b"")  # has no scores
    asked = ["--out", str(tmp_path), "--checkpoints", "47", "50", "--shard-steps", "20"]
    run(["import", "dqn-replay", "memory://dqn", *asked])
    assert capsys.readouterr().out.startswith(f"{tmp_path}/ms_pacman: ")
    tiers = by_game([tmp_path / "ms_pacman"])["ms_pacman"]
    assert [tier.policy for tier in tiers] == ["dqn_replay/2@47", "dqn_replay/2@50"]
    assert all(tier.steps > 20 for tier in tiers)
    origin = open_dataset(tmp_path / "ms_pacman").origin
    assert origin.source == "DQN Replay"
    assert origin.policies[0].trained == 47_000_000
    frames = Frames.load([tmp_path])
    assert not frames.labels["ram"].any()
    assert len(frames.starts(4)) > 0


@pytest.mark.slow
def test_a_file_of_twice_the_size_takes_no_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = {}
    for capacity in (60, 3000, 6000):  # the first imports what is needed
        monkeypatch.setattr(f"{__name__}.CAPACITY", capacity)
        source = tmp_path / str(capacity) / "Pong" / "1" / "replay_logs"
        write(source, played(0, fills=1, last=False).files)
        tracemalloc.start()
        import_dqn_replay(str(source), tmp_path / f"{capacity}", shard_steps=500, longest=LONGEST)
        most[capacity] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(shard_paths(tmp_path / f"{capacity}" / "pong")) >= capacity // 1000
    assert most[6000] < 1.1 * most[3000]


@pytest.mark.slow
def test_a_stopped_import_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "Pong" / "1" / "replay_logs"
    whole = write(source, played(5).files)
    for out in ("one", "two"):
        import_dqn_replay(str(source), tmp_path / out, shard_steps=20, longest=LONGEST)
    paths = shard_paths(tmp_path / "two" / "pong")
    assert len(paths) > 5
    paths[1].unlink()
    paths[2].write_bytes(paths[2].read_bytes()[:-10])
    (paths[0].parent / "_dataset.json").unlink()
    kept = paths[4].stat().st_ino
    for name in ("$store$_observation_ckpt.50.gz", "$store$_observation_ckpt.49.gz"):
        (whole / name).write_bytes(b"")  # what is complete is not read again
    import_dqn_replay(str(source), tmp_path / "two", shard_steps=20, longest=LONGEST)
    assert paths[4].stat().st_ino == kept
    for path in (tmp_path / "one" / "pong").glob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / "pong" / path.name).read_bytes()
    with pytest.raises(UserError, match="was imported with shard_steps 20, not 30: give another"):
        import_dqn_replay(str(source), tmp_path / "two", shard_steps=30, longest=LONGEST)


def test_the_first_rows_of_files_in_the_layout_of_other_scripts(tmp_path: Path) -> None:
    truth = played(7, fills=2, last=False)
    names = {
        f"$store$_{kind}_ckpt.{number}.gz": f"{kind}_{number}.gz"
        for kind in ("observation", "action", "reward", "terminal")
        for number in (0, 1)
    }
    write(tmp_path / "Pong", {names[n]: c for n, c in truth.files.items() if n in names})
    import_dqn_replay(str(tmp_path), tmp_path / "out", rows=40, longest=LONGEST)
    found = list(rows(tmp_path / "out" / "pong"))
    numbers = np.concatenate([episode["number"] for episode in found])
    assert numbers[0] == 1  # checkpoint 0 begins with the first episode
    first = in_order(truth, 0)[:40]
    second = in_order(truth, 1)[1:41]  # the row that stands last in the file was the first
    assert set(numbers.tolist()) <= {*first.tolist(), *second.tolist()}
    assert set(first.tolist()) - {0} <= set(numbers.tolist())


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: f["$store$_observation_ckpt.47.gz"][:-400], r"47.gz is damaged \(.*goes on"),
        (lambda f: f["$store$_observation_ckpt.46.gz"], "screens where its terminals leave none"),
        (lambda f: f["$store$_action_ckpt.46.gz"], "does not hold 60 screens of 84x84 bytes"),
        (lambda f: None, "breakout run 1 checkpoint 47 in .* has no file of its observations: add"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_and_what_was_imported_is_kept(
    tmp_path: Path, damage, says
) -> None:
    files = played(11).files
    name = "$store$_observation_ckpt.47.gz"
    content = damage(files)
    source = write(tmp_path / "Breakout" / "1" / "replay_logs", files)
    if content is None:
        (source / name).unlink()
    else:
        (source / name).write_bytes(content)
    with pytest.raises(UserError, match=says):
        import_dqn_replay(str(tmp_path), tmp_path / "out", shard_steps=20, longest=LONGEST)
    kept = shard_paths(tmp_path / "out" / "breakout")
    assert bool(kept) == (content is not None)
    for path in kept:
        read_shard(path)


def test_where_nothing_is_there_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such checkpoints in .*give the folder"):
        import_dqn_replay(str(tmp_path), tmp_path / "out")
    with pytest.raises(UserError, match="nowhere://x cannot be opened: "):
        import_dqn_replay("nowhere://x", tmp_path / "out")


def test_the_row_that_stands_last_came_first() -> None:
    assert segments(10, 3, 39, before=False, most=None) == [([range(9, 10), range(9)], False)]
    assert segments(10, 0, 9, before=False, most=None) == [([range(9)], True)]
    assert segments(10, 50, 504, before=False, most=None) == [([range(4, 10), range(4)], False)]
    assert segments(10, 50, 504, before=True, most=None) == [([range(9, 10), range(4)], False)]
    assert segments(10, 50, 504, before=False, most=6) == [
        ([range(4)], False), ([range(4, 6)], False),
    ]  # fmt: skip
    terminal = np.array([0, 0, 0, 0, 0, 0, 1, 0, 0, 1])  # row 9 ended an episode before row 0
    (first, last) = stretches(terminal, [range(9, 10), range(9)], begins=False)[0], None
    assert (first.rows.tolist(), first.over, last) == ([3, 4, 5, 6], True, None)
