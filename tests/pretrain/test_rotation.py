"""All frames come, of all recordings at once or in groups that fit into memory."""

from __future__ import annotations

import gc
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import lightning
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fovea.atari.frames import Frames
from fovea.atari.parquet import (
    SCREEN_BYTES,
)
from fovea.atari.shards import Shards
from fovea.command import UserError
from fovea.pretrain.data import Batch, Steps, Windows
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.rotation import Rotation, balanced_groups
from fovea.pretrain.training.fit import fit

GIB = SCREEN_BYTES / 2**30
LIMIT = 2400  # screens; the training and validation episodes have about twice as many
BATCH = 48
FULL = ("place", "game", "action", "step", "ram")


def windows(folder: Path, limit: int | None = LIMIT, **settings) -> Windows:
    memory = None if limit is None else (limit + 0.5) * GIB
    return Windows([str(folder)], batch_size=BATCH, memory=memory, **settings)


def steps(data: Windows, rank: int = 0, world: int = 1, seen: int = 0, steps: int = 10) -> Steps:
    data.first_batch = seen
    objective = Objective(encoder=Shape(patch=42))
    objective.offsets, objective.labels = (-2, 0, 3), FULL
    data.trainer = SimpleNamespace(
        global_rank=rank, world_size=world, max_steps=steps, accumulate_grad_batches=1,
        lightning_module=objective,
    )  # fmt: skip
    return data.train_dataloader()


def equal(one: Batch, other: Batch, rows: slice = slice(None)) -> bool:
    pairs = [(one.windows, other.windows), (one.episode, other.episode)]
    pairs += [(one.labels[name], other.labels[name]) for name in FULL]
    return one.step == other.step and all(torch.equal(a[rows], b) for a, b in pairs)


def groups_of(loader: Steps, number: int = 0) -> list[tuple[int, int]]:
    """Where in the sequence each group of a pass begins and ends."""
    return [(one.begin, one.end) for one in loader.orders[0].segments(number)]


@pytest.mark.slow
def test_what_fits_is_not_touched(cut: Path) -> None:
    held, turning = windows(cut, None), windows(cut, 100_000)
    assert all(equal(*both) for both in zip(steps(held), steps(turning), strict=True))
    assert torch.equal(held.validation[0].frames.screens, turning.validation[0].frames.screens)
    assert torch.equal(held.validation[0].frames.anchor, turning.validation[0].frames.anchor)


@pytest.mark.slow
def test_the_frames_are_those_of_a_split_of_all(cut: Path) -> None:
    data = windows(cut, None)
    training, validation, _ = Frames.load([cut]).split()
    for frames, source in ((training, data.training[0]), (validation, data.validation[0])):
        assert torch.equal(source.frames.screens, frames.screens)
        assert torch.equal(source.frames.anchor, frames.anchor)
        assert torch.equal(source.frames.episode, frames.episode)
        assert torch.equal(source.frames.labels["place"], torch.arange(len(frames)))
        for name, label in frames.labels.items():
            assert torch.equal(source.frames.labels[name], label)


@pytest.mark.slow
def test_a_pass_has_all_windows_once_and_shows_what_they_are(cut: Path) -> None:
    whole = windows(cut, None).frames
    loader = steps(windows(cut))
    starts = whole.starts(4, (-2, 0, 3))
    assert loader.windows_per_epoch == len(starts)
    assert len(groups_of(loader)) >= 3
    batches = [loader.draw(step) for step in range(2 * len(starts) // BATCH + 1)]
    now = torch.cat([batch.labels["place"][:, 1] for batch in batches])
    first, second = now[: len(starts)], now[len(starts) : 2 * len(starts)]
    assert torch.equal(first.sort().values, starts)
    assert torch.equal(second.sort().values, starts)
    assert not torch.equal(first, second)
    for batch in batches:
        place = batch.labels["place"]
        assert torch.equal(place - place[:, 1:2], torch.tensor([[-2, 0, 3]]).expand_as(place))
        assert torch.equal(batch.windows[:, 1], whole.windows(place[:, 1], 4)[:, 0])
        assert torch.equal(batch.episode, whole.episode[place[:, 1]])
        assert torch.equal(batch.labels["ram"], whole.labels["ram"][place])
        assert torch.equal(batch.labels["game"], whole.game[place])


@pytest.mark.slow
def test_never_more_screens_are_held_than_the_limit(
    cut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held() -> dict[int, int]:
        found = (x for x in gc.get_objects() if type(x) is Tensor and x.shape[1:] == (84, 84))
        # A batch that straddles two groups has its first windows by then, of 12 screens each.
        return {x.data_ptr(): len(x) for x in found if len(x) > 12 * BATCH}

    before, most, read = held(), [], Shards.read

    def counting(shards, rows):
        """While a group is read, it is there in full beside all that is still held."""
        for number, part in enumerate(read(shards, rows)):
            if not number:
                most.append(sum(n for at, n in held().items() if at not in before))
            yield part

    monkeypatch.setattr(Shards, "read", counting)
    data = windows(cut)
    loader = steps(data)
    for step in range(2 * loader.windows_per_epoch // BATCH):
        loader.draw(step)
    assert 0.7 * LIMIT < max(most) <= LIMIT
    assert 0 < len(data.validation[0].frames) < len(windows(cut, None).validation[0].frames)


@pytest.mark.slow
def test_going_on_inside_a_group_loads_that_group_and_is_as_if_never_stopped(
    cut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = steps(windows(cut), steps=200)
    begin, end = groups_of(loader, 1)[1]
    first = (begin + end) // 2 // BATCH
    going_on = steps(windows(cut), seen=first, steps=200)
    read, asked = Frames.read, []
    monkeypatch.setattr(
        Frames, "read", lambda shards, rows: asked.append(len(rows)) or read(shards, rows)
    )
    rest = iter(going_on)
    some = [next(rest) for _ in range(3)]
    assert len(asked) == 1
    some += [next(rest) for _ in range(end // BATCH - first)]  # into the group after it
    assert len(asked) == 2
    for batch in some:
        assert equal(loader.draw(batch.step), batch)


def test_a_batch_takes_from_both_groups_that_meet_in_it(cut: Path) -> None:
    loader = steps(windows(cut))
    (_, meet), (_, _), *_ = groups_of(loader)
    assert meet % BATCH
    first, second, *_ = loader.orders[0].source.groups(0)
    batch = loader.draw(meet // BATCH)
    shard = (
        np.searchsorted(loader.orders[0].source.bounds, batch.labels["place"][:, 1], side="right")
        - 1
    )
    assert set(shard[: meet % BATCH]) <= set(first)
    assert set(shard[meet % BATCH :]) <= set(second)


@pytest.mark.slow
def test_two_ranks_are_one(cut: Path) -> None:
    alone = steps(windows(cut))
    ranks = [steps(windows(cut), rank, world=2) for rank in (0, 1)]
    meet = groups_of(alone)[0][1] // BATCH
    for step in (*range(meet - 2, meet + 3), alone.windows_per_epoch // BATCH):
        for rank, loader in enumerate(ranks):
            assert equal(alone.draw(step), loader.draw(step), slice(rank, None, 2))


@pytest.mark.slow
def test_places_are_drawn_for_a_slot_whatever_groups_meet(cut: Path) -> None:
    """An objective's own draws in a batch of two groups are those of the same slots in one."""

    class Drawn(Objective):
        def places(self, at, frames, draws):
            self.drawn = draws.integers(1000)
            return at[:, None]

    loader = steps(windows(cut))
    (order,) = loader.orders
    order.objective = Drawn(encoder=Shape(patch=42))
    order.objective.labels = ("place",)
    step = groups_of(loader)[0][1] // BATCH
    loader.draw(step)
    in_two = order.objective.drawn
    whole = steps(windows(cut, None))
    whole.orders[0].objective = order.objective
    whole.draw(step)
    assert torch.equal(in_two, order.objective.drawn)


def shared(folder: Path, shares: int = 1, limit: int | None = None) -> Windows:
    """As many episodes for validation as for training, each a shard."""
    fractions = 0.4, 0.4, 0.2
    return windows(folder, limit, shares=shares, fractions=fractions)


def places(sources: Sequence[Rotation]) -> list[set[int]]:
    """Which of all frames each share has in memory."""
    return [set(one.loaded.labels["place"].tolist()) if one.loaded else set() for one in sources]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shares", "limit"), [(4, None), (2, 4000)], ids=["all in memory", "in groups"]
)
def test_what_is_drawn_of_shares_does_not_depend_on_the_number_of_ranks(
    cut: Path, shares: int, limit: int | None
) -> None:
    alone = steps(shared(cut, shares, limit))
    assert max(len(order.segments(0)) for order in alone.orders) == (2 if limit else 1)
    for world in {2, shares}:
        for rank in range(world):
            loader = steps(shared(cut, shares, limit), rank, world)
            for step in (0, 1, 40):
                assert equal(alone.draw(step), loader.draw(step), slice(rank, None, world))


@pytest.mark.slow
def test_a_rank_holds_the_frames_of_its_own_shares_alone(cut: Path) -> None:
    every = shared(cut)
    held = []
    for rank in (0, 1):
        data = shared(cut, 2)
        assert len(data.frames) > 0  # which a rank may have looked at before
        loader, held_out = steps(data, rank, 2), data.val_dataloader()
        for _ in range(5):
            loader.draw(0)
            held_out.draw(0)
        for sources in (data.training, data.validation):
            assert [bool(one) for one in places(sources)] == [rank == 0, rank == 1]
        held.append(places(data.training)[rank])
    assert held[0] | held[1] == set(range(len(every.frames)))
    assert not held[0] & held[1]
    assert 0.35 < len(held[0]) / len(every.frames) < 0.65


@pytest.mark.slow
def test_a_batch_takes_as_many_of_each_share_and_a_pass_each_window_once(cut: Path) -> None:
    data = shared(cut, 2)
    loader = steps(data)
    whole, of_share = shared(cut).frames, [set(), set()]
    starts = set(whole.starts(4, (-2, 0, 3)).tolist())
    assert loader.windows_per_epoch == len(starts)
    sizes = [order.windows_per_epoch for order in loader.orders]
    for step in range(max(sizes) // (BATCH // 2) + 1):
        batch = loader.draw(step)
        now = batch.labels["place"][:, 1]
        assert torch.equal(batch.windows[:, 1], whole.windows(now, 4)[:, 0])
        for share, seen in enumerate(of_share):
            seen |= set(now[share::2].tolist())
    assert of_share[0] | of_share[1] == starts
    assert not of_share[0] & of_share[1]


@pytest.mark.slow
@pytest.mark.parametrize(("shares", "world", "message"), [
    (3, 2, "3 shares cannot be divided evenly among 2 ranks: take a multiple of 2"),
    (5, 1, "a batch of 48 samples cannot be divided evenly among 5 shares"),
    (48, 1, r"for training lie in \d+ shards, too few for 48 shares"),
])  # fmt: skip
def test_shares_that_cannot_be_are_refused(
    cut: Path, shares: int, world: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        steps(shared(cut, shares), 0, world)


@pytest.mark.slow
def test_validation_is_a_group_of_the_same_episodes(cut: Path) -> None:
    every, some = (windows(cut, limit).validation[0].frames for limit in (None, LIMIT))
    place = some.labels["place"]
    assert torch.equal(every.screens[place], some.screens)
    assert torch.equal(every.anchor[place], some.anchor)
    assert torch.equal(every.episode[place], some.episode)


@pytest.mark.slow
def test_a_limit_below_one_shard_is_refused_with_the_one_that_is_enough(
    recordings: Path, tmp_path: Path
) -> None:
    config = Path(__file__).parents[2] / "pretrain" / "configs" / "vicreg.yaml"
    with pytest.raises(UserError) as refused:
        fit(["-c", str(config), "--data.recordings", f"[{recordings}]", "--run",
             str(tmp_path / "mine"), "--data.memory", "0.002"])  # fmt: skip
    message = re.fullmatch(
        r"memory of 0.002 GiB holds 304 screens, and the largest shard has [\d,]+: "
        r"give --data.memory ([\d.]+) or more, or leave it out", str(refused.value),
    )  # fmt: skip
    assert not (tmp_path / "mine").exists()
    assert windows(recordings, int(float(message[1]) / GIB)).frames.screens.any()


class Kept(Objective):
    """An objective whose loss depends on what it found in the frames at the start."""

    labels = ("place",)

    def __init__(self) -> None:
        super().__init__(encoder=Shape(patch=42))
        self.register_buffer("mean", torch.zeros(84, 84))
        self.seen: list[Tensor] = []

    def prepare(self, frames: Frames) -> None:
        self.prepared = frames.labels["place"]
        self.mean = frames.screens.float().mean(0)

    def views(self, windows, draws, place):
        self.seen.append(place)
        return (windows[:, 0],)

    def losses(self, now):
        (features,) = self.encode(now)
        return {"some": (features.summary.mean(1) - self.mean.mean() / 255).pow(2).mean()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint")
def test_a_run_that_goes_on_in_another_group_is_prepared_as_at_the_start(
    cut: Path, tmp_path: Path
) -> None:
    def run(last: int, checkpoint: Path | None = None) -> tuple[Kept, lightning.Trainer]:
        trainer = lightning.Trainer(
            max_steps=last, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu", limit_val_batches=0,
        )  # fmt: skip
        objective = Kept()
        trainer.fit(objective, datamodule=windows(cut), ckpt_path=checkpoint)
        return objective, trainer

    data = windows(cut)
    data.trainer = SimpleNamespace(
        global_rank=0, world_size=1, max_steps=1, accumulate_grad_batches=1, lightning_module=Kept()
    )
    begin = groups_of(data.train_dataloader())[1][0]
    half, last = begin // BATCH + 2, begin // BATCH + 4
    whole, _ = run(last)
    _, stopped = run(half)
    stopped.save_checkpoint(tmp_path / "half.ckpt")
    going_on, _ = run(last, tmp_path / "half.ckpt")
    assert torch.equal(going_on.prepared, data.frames.labels["place"])
    assert torch.equal(going_on.prepared, whole.prepared)
    assert len(going_on.seen) == 2
    assert torch.equal(torch.cat(going_on.seen), torch.cat(whole.seen[half:]))
    assert not torch.isin(going_on.seen[-1], going_on.prepared).any()


@pytest.mark.slow
def test_an_outline_divides_as_its_frames(cut: Path) -> None:
    shards = Shards.find([cut])
    frames, outline = Frames.load([cut]), Frames.outline(shards, int)
    assert outline.screens.shape == (len(frames), 1, 8)
    for whole, light in zip(frames.split(seed=3), outline.split(seed=3), strict=True):
        rows = light.labels["row"]
        assert torch.equal(frames.screens[rows], whole.screens)
        assert torch.equal(light.anchor, whole.anchor)
        assert torch.equal(light.episode, whole.episode)
        assert torch.equal(light.game, whole.game)
        assert torch.equal(light.starts(4, (-3, 2)), whole.starts(4, (-3, 2)))
        read = replace(Frames.read(shards, rows.numpy()), anchor=light.anchor)
        assert torch.equal(read.screens, whole.screens)
        assert torch.equal(read.episode, whole.episode)
        assert all(torch.equal(read.labels[name], label) for name, label in whole.labels.items())


def test_a_group_is_let_go_of_before_the_next_and_kept_while_it_is_asked_for(cut: Path) -> None:
    shards = Shards.find([cut])
    rotation = Rotation(shards, Frames.outline(shards, int), 3000, seed=0)
    first, second, *_ = rotation.groups(0)
    frames = rotation.frames
    assert rotation.load(first) is frames
    assert rotation.load(second) is not frames
    assert set(frames.episode.tolist()) == set(first)  # here each shard is an episode
    assert set(rotation.frames.episode.tolist()) == set(second)


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=40).filter(any),
    spare=st.integers(0, 100),
    games=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_a_deal_has_every_shard_once_in_groups_that_fit(sizes, spare, games, seed) -> None:
    sizes = np.array(sizes)
    limit = sizes.max() + spare
    game = np.arange(len(sizes)) % games
    groups = balanced_groups(sizes, game, limit, np.random.default_rng(seed))
    assert sorted(shard for group in groups for shard in group) == list(range(len(sizes)))
    assert all(sizes[group].sum() <= limit and group == sorted(group) for group in groups)
    if sizes.sum() <= limit:
        assert len(groups) == 1


def test_a_group_has_all_games_in_their_shares() -> None:
    game = np.repeat([0, 1, 2], [60, 30, 10])
    groups = balanced_groups(np.full(100, 7), game, 140, np.random.default_rng(0))
    assert len(groups) == 5
    for group in groups:
        assert np.abs(np.bincount(game[group], minlength=3) - [12, 6, 2]).max() <= 1
    other = balanced_groups(np.full(100, 7), game, 140, np.random.default_rng(1))
    assert groups != other
