"""A batch is a function of (seed, step, slot); every window comes once before any comes again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fovea.command import UserError
from fovea.pretrain.data import Batch, Steps, Windows
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.order import HELD_OUT, TRAINING
from fovea.seeding import Stream, keyed


def steps(recordings: Path, batch: int = 8, seed: int = 0, rank: int = 0, world: int = 1,
          seen: int = 0, max_steps: int = 6, offsets: tuple[int, ...] = (0,),
          labels: tuple[str, ...] = ()) -> Steps:  # fmt: skip
    data = Windows([str(recordings)], batch_size=batch, seed=seed)
    data.first_batch = seen
    objective = Objective()
    objective.offsets, objective.labels = offsets, labels
    data.trainer = SimpleNamespace(
        global_rank=rank, world_size=world, max_steps=max_steps, accumulate_grad_batches=1,
        lightning_module=objective,
    )  # fmt: skip
    return data.train_dataloader()


def equal(a: Batch, b: Batch) -> bool:
    return torch.equal(a.windows, b.windows) and a.step == b.step


def test_a_batch_holds_windows_at_the_offsets(recordings: Path) -> None:
    batch = next(iter(steps(recordings, offsets=(-4, 0, 4))))
    assert batch.windows.shape == (8, 3, 4, 84, 84)
    assert batch.windows.dtype == torch.uint8
    assert (batch.step, batch.rank, batch.world) == (0, 0, 1)


def test_labels_are_those_of_the_newest_screens(recordings: Path) -> None:
    loader = steps(recordings, offsets=(0, 1), labels=("place", "step", "ram", "game"))
    batch, frames = next(iter(loader)), loader.orders[0].source.frames
    place = batch.labels["place"]
    assert torch.equal(frames.screens[place], batch.windows[:, :, -1])
    assert torch.equal(batch.labels["step"][:, 1], batch.labels["step"][:, 0] + 1)
    assert torch.equal(batch.labels["ram"], frames.labels["ram"][place])
    assert torch.equal(batch.labels["game"], frames.game[place])


def test_a_batch_that_ranks_cannot_share_is_refused(recordings: Path) -> None:
    with pytest.raises(UserError, match="take a multiple of 3"):
        steps(recordings, batch=8, world=3)


@pytest.mark.slow
def test_the_loader_knows_its_length_and_starts_where_it_stopped(recordings: Path) -> None:
    whole = list(steps(recordings))
    rest = list(steps(recordings, seen=4))
    assert len(steps(recordings)) == len(whole) == 6
    assert all(equal(a, b) for a, b in zip(whole[4:], rest, strict=True))


@pytest.mark.slow
def test_seeds_order_the_windows_in_other_ways(recordings: Path) -> None:
    first, other = (next(iter(steps(recordings, seed=seed))) for seed in (0, 1))
    assert not equal(first, other)


@pytest.mark.slow
def test_two_ranks_share_the_batch_of_one(recordings: Path) -> None:
    whole = list(steps(recordings, batch=8))
    halves = [list(steps(recordings, batch=8, rank=rank, world=2)) for rank in (0, 1)]
    for step, batch in enumerate(whole):
        for rank in (0, 1):
            assert torch.equal(batch.windows[rank::2], halves[rank][step].windows)


def test_every_window_comes_once_before_any_comes_again(recordings: Path) -> None:
    loader = steps(recordings, batch=64, labels=("place",))
    starts = loader.orders[0].source.frames.starts(4)
    count = len(starts)
    drawn = [loader.draw(step).labels["place"][:, 0] for step in range(2 * count // 64 + 1)]
    places = torch.cat(drawn)
    for number in range(2):
        shuffled = places[number * count : (number + 1) * count]
        assert torch.equal(shuffled.sort().values, starts)
    assert not torch.equal(places[:count], places[count : 2 * count])


def test_training_and_held_out_batches_have_places_and_orders_of_their_own(
    recordings: Path,
) -> None:
    loader = steps(recordings, batch=64, labels=("place",))
    starts = loader.orders[0].source.frames.starts(4)
    order = torch.randperm(len(starts), generator=keyed("cpu", Stream.ORDER, 0, 0, 0))
    assert torch.equal(loader.draw(3).labels["place"][:, 0], starts[order[3 * 64 : 4 * 64]])
    assert len({*TRAINING, *HELD_OUT}) == 4


@pytest.mark.slow
def test_only_training_episodes_are_seen(recordings: Path) -> None:
    data = Windows([str(recordings)])
    train = data.frames.episode.unique().tolist()
    from fovea.atari.frames import Frames

    _, validation, test = Frames.load([recordings]).split((0.7, 0.1, 0.2), seed=0)
    assert not set(train) & {*validation.episode.tolist(), *test.episode.tolist()}


def test_offsets_that_no_episode_holds_are_refused(recordings: Path) -> None:
    with pytest.raises(UserError, match="no window of 4 screens at offsets"):
        steps(recordings, offsets=(-100_000, 0))
