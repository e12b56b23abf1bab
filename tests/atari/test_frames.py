"""Windows lie in one episode, and nothing that is held out has been seen before."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fovea.atari.frames import Frames
from fovea.atari.recordings import open_dataset
from fovea.command import UserError

GAMES = ("breakout", "pong", "freeway")


def frames(games: list[list[int]], pictures: list[int] | None = None) -> Frames:
    """Frames of 2x3 by hand: for each game the lengths of its episodes.

    The values of a screen count from 0, or are what `pictures` says, over and over.
    """
    lengths = [length for game in games for length in game]
    count = sum(lengths)
    values = torch.arange(count) if pictures is None else torch.tensor(pictures).repeat(count)
    values = values[:count]
    screens = torch.stack([values % 251, values // 251, *[values * 0 + 7] * 4], 1)
    return Frames(
        screens=screens.reshape(-1, 2, 3).to(torch.uint8),
        episode=torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)),
        game=torch.arange(len(games)).repeat_interleave(torch.tensor([sum(g) for g in games])),
        labels={"step": torch.cat([torch.arange(length) for length in lengths])},
        games=GAMES[: len(games)],
        anchor=torch.ones(count, dtype=torch.bool),
        data={name: f"sha of {name}" for name in GAMES[: len(games)]},
    )


lengths_of_episodes = st.lists(st.integers(1, 12), min_size=1, max_size=6)
stacks = st.integers(1, 4)
offsets_from_now = st.lists(st.integers(-5, 5), min_size=1, max_size=3)


@pytest.mark.slow
@given(lengths_of_episodes, stacks, offsets_from_now, st.data())
def test_anchors_are_all_screens_whose_windows_lie_in_their_episode(lengths, stack, offsets, data):
    made = frames([lengths])
    anchor = data.draw(st.lists(st.booleans(), min_size=len(made), max_size=len(made)))
    made = replace(made, anchor=torch.tensor(anchor))
    expected = []
    for now in range(len(made)):
        needed = [now + o - back for o in offsets for back in range(stack)]
        inside = [0 <= i < len(made) and made.episode[i] == made.episode[now] for i in needed]
        if anchor[now] and all(inside):
            expected.append(now)
    starts = made.starts(stack, offsets)
    assert starts.dtype == torch.int64
    assert starts.tolist() == expected


@given(lengths_of_episodes, stacks, offsets_from_now, st.randoms())
def test_windows_show_the_oldest_screen_first_and_end_at_their_offset(
    lengths, stack, offsets, random
):
    made = frames([lengths])
    at = made.starts(stack, offsets).tolist()
    random.shuffle(at)
    windows = made.windows(torch.tensor(at, dtype=torch.int64), stack, offsets)
    assert windows.shape == (len(at), len(offsets), stack, 2, 3)
    assert windows.dtype == torch.uint8
    for row, now in enumerate(at):
        for place, offset in enumerate(offsets):
            newest = now + offset
            expected = [made.screens[newest - back].tolist() for back in reversed(range(stack))]
            assert windows[row, place].tolist() == expected
            assert len({int(made.episode[newest - back]) for back in range(stack)}) == 1


@pytest.mark.slow
@given(lengths_of_episodes, st.randoms())
def test_the_last_screen_of_an_episode_is_known_to_each(lengths, random):
    made = frames([lengths])
    expected = [int(end) - 1 for end, length in zip(np.cumsum(lengths), lengths, strict=True)
                for _ in range(length)]  # fmt: skip
    at = random.sample(range(len(made)), len(made))
    assert made.last(torch.tensor(at)).tolist() == [expected[now] for now in at]


def test_the_anchor_is_the_screen_now():
    made = frames([[6, 5]])
    assert made.starts(2, (-1, 0, 1)).tolist() == [2, 3, 4, 8, 9]
    shown = made.windows(torch.tensor([3]), 2, (-1, 0, 1))[0, :, :, 0, 0]
    assert shown.tolist() == [[1, 2], [2, 3], [3, 4]]


def test_an_episode_that_is_too_short_has_no_anchor():
    assert frames([[3, 3]]).starts(4).tolist() == []
    assert frames([[3, 4]]).starts(4).tolist() == [6]


@pytest.mark.slow
@given(
    games=st.lists(st.lists(st.integers(1, 5), min_size=3, max_size=9), min_size=1, max_size=3),
    pictures=st.lists(st.integers(0, 60), min_size=1, max_size=90),
    seed=st.integers(0, 1000),
)
def test_a_screen_that_an_earlier_split_has_is_no_anchor_of_a_later(games, pictures, seed):
    """A plain count of the bytes says which screens were seen before."""
    made = frames(games, pictures)
    seen: set[bytes] = set()
    episodes: list[int] = []
    for part in made.split(seed=seed):
        shown = [screen.numpy().tobytes() for screen in part.screens]
        assert part.anchor.tolist() == [screen not in seen for screen in shown]
        assert set(part.starts(1).tolist()) == set(part.anchor.nonzero().flatten().tolist())
        seen |= set(shown)
        episodes += part.episode.unique().tolist()
        assert part.game.unique().tolist() == list(range(len(games)))  # each has some of every game
    assert sorted(episodes) == made.episode.unique().tolist()


def test_a_split_keeps_episodes_whole_and_rows_aligned():
    made = frames([[5, 3, 4, 6], [2, 2, 2, 7, 1]])
    for part in made.split(seed=3):
        for episode in part.episode.unique():
            mine, whole = part.episode == episode, made.episode == episode
            assert torch.equal(part.screens[mine], made.screens[whole])
            assert torch.equal(part.labels["step"][mine], made.labels["step"][whole])
            assert torch.equal(part.game[mine], made.game[whole])


@pytest.mark.parametrize("fractions", [(0.7, 0.1, 0.2), (0.5, 0.5), (0.8, 0.2)])
def test_splits_have_their_share_of_the_episodes(fractions):
    parts = frames([[1] * 100]).split(fractions)
    assert len(parts) == len(fractions)
    for part, fraction in zip(parts, fractions, strict=True):
        assert len(part) == pytest.approx(100 * fraction, abs=2)


def test_the_seed_alone_says_which_episodes_go_where():
    """Neither a second call nor other games beside it move an episode of Pong."""
    lengths = [2, 3, 4, 5, 6, 7, 8, 9]

    def of_pong(made: Frames, seed: int) -> list[list[int]]:
        return [part.of("pong").labels["step"].tolist() for part in made.split(seed=seed)]

    alone = replace(frames([lengths]), games=("pong",), data={"pong": "sha"})
    beside = frames([[3, 3, 3, 3], lengths])
    assert of_pong(alone, 5) == of_pong(alone, 5) == of_pong(beside, 5)
    assert len({str(of_pong(alone, seed)) for seed in range(6)}) > 1


def test_a_game_with_too_few_episodes_to_split_is_named():
    with pytest.raises(
        UserError, match=r"pong has 2 episodes, too few for 3 splits: record or import 3"
    ):
        frames([[5, 5, 5], [5, 5]]).split()


@pytest.mark.slow
def test_a_held_out_screen_of_a_real_game_was_never_seen(recordings: Path):
    """Breakout starts every episode alike: those screens are no anchors of later splits."""
    train, valid, test = Frames.load([recordings]).split(seed=1)
    seen = {screen.tobytes() for screen in train.screens.numpy()}
    for part in (valid, test):
        fresh = part.screens[part.anchor]
        assert len(part) > len(fresh) > len(part) // 2
        assert not seen & {screen.tobytes() for screen in fresh.numpy()}
        seen |= {screen.tobytes() for screen in part.screens.numpy()}


@pytest.mark.slow
def test_labels_are_those_of_the_row_of_the_screen(recordings: Path):
    loaded = Frames.load([recordings])
    assert loaded.games == ("breakout", "pong")
    files = sorted(recordings.glob("*/shard-*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert len(loaded) == len(rows)
    assert loaded.screens.shape == (len(rows), 84, 84)
    for name, label in loaded.labels.items():
        expected = [list(row[name]) if name == "ram" else row[name] for row in rows]
        assert label.tolist() == expected
    assert loaded.screens.numpy().tobytes() == b"".join(row["screen"] for row in rows)
    told = np.array([row["episode"] for row in rows])
    breaks = (np.diff(told) != 0) | (np.diff(loaded.game) != 0)
    np.testing.assert_array_equal(np.diff(loaded.episode), breaks)
    assert loaded.data == {game: open_dataset(recordings / game).sha256 for game in loaded.games}


def test_frames_of_one_game_are_the_same_rows_in_the_same_memory(recordings: Path):
    both = Frames.load([recordings])
    pong = both.of("ALE/Pong-v5")
    alone = Frames.load([recordings / "pong"])
    assert pong.games == alone.games == ("pong",)
    assert pong.data == alone.data
    assert torch.equal(pong.screens, alone.screens)
    assert torch.equal(pong.game, alone.game)
    for name, label in pong.labels.items():
        assert torch.equal(label, alone.labels[name])
    assert pong.starts(4).tolist() == alone.starts(4).tolist()
    begin = len(both) - len(pong)
    assert pong.screens.data_ptr() == both.screens[begin:].data_ptr()


def test_games_come_in_the_order_that_is_asked_for(recordings: Path):
    turned = Frames.load([recordings], games=["Pong", "breakout"])
    assert turned.games == ("pong", "breakout")
    assert torch.equal(turned.of("pong").screens, Frames.load([recordings]).of("pong").screens)
    only = Frames.load([recordings], games=["pong"])
    with pytest.raises(UserError, match="no frames of breakout: these are of pong"):
        only.of("breakout")


def test_a_game_that_is_not_recorded_is_named(recordings: Path):
    with pytest.raises(UserError, match=r"no recording of freeway in .*, only of breakout, pong"):
        Frames.load([recordings], games=["freeway"])


def test_damage_is_named_with_its_fix(recordings: Path, tmp_path: Path):
    folder = shutil.copytree(recordings / "pong", tmp_path / "pong")
    path = folder / "shard-00001.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    fix = "run the fovea atari collect command of pong"
    with pytest.raises(UserError, match=f"^{path}: .* {fix}") as fault:
        Frames.load([tmp_path])
    assert "\n" not in str(fault.value)
    (folder / "_dataset.json").unlink()
    with pytest.raises(
        UserError, match=f"^{folder} has no _dataset.json, so it is not finished: run"
    ):
        Frames.load([tmp_path])
