"""What feeds an objective: windows of recorded screens, each batch a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import lightning
import torch
from torch import Tensor

from fovea.atari.frames import Frames
from fovea.command import UserError
from fovea.pretrain.rotation import Rotation, Whole, rotate
from fovea.seeding import Draws, Stream, keyed


class Streams(NamedTuple):
    """What the seed is used for in a sequence of batches."""

    order: Stream
    places: Stream


TRAINING = Streams(Stream.ORDER, Stream.PLACES)
HELD_OUT = Streams(Stream.HELD_OUT_ORDER, Stream.HELD_OUT_PLACES)


class Batch(NamedTuple):
    """Windows, what is known of them, and the key of their draws."""

    windows: Tensor
    """(B, K, stack, H, W) uint8, oldest screen first."""
    labels: dict[str, Tensor]
    """Those that the objective asks for, (B, K, ...), of the newest screen of each window."""
    step: int
    rank: int
    world: int
    episode: Tensor
    """(B,) int64, the episode of each sample's anchor, by its number in all the data."""


class Windows(lightning.LightningDataModule):
    """Windows of the training episodes, every window once before any comes again.

    Args:
        recordings: folders that `fovea atari collect` made, one a game.
        batch: samples a step, of all ranks together.
        fractions: shares of the episodes for training, validation and test; the second is seen
            only by `held_out/...` in the log, the third is left to the probes.
        held_out: batches of the validation episodes that the held-out numbers are a mean of.
        memory: GiB of screens that are held at once, or all. Where training and validation have
            more, groups of whole shards that fit take turns (see `pretrain.rotation`).
        seed: of the split and of the order.
    """

    def __init__(
        self,
        recordings: list[str],
        batch: int = 128,
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        held_out: int = 16,
        memory: float | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.recordings, self.batch, self.seed = recordings, batch, seed
        if memory is None:
            training, validation, _ = Frames.load(recordings).split(fractions, seed)
            self.training, self.validation = Whole(training), Whole(validation)
        else:
            self.training, self.validation = rotate(recordings, fractions, memory, seed)
        self.held_out = held_out
        self.seen = 0

    @property
    def frames(self) -> Frames:
        """The training frames that are held now."""
        return self.training.frames

    def setup(self, stage: str) -> None:
        for held in (self.training, self.validation):
            held.to(self.trainer.strategy.root_device)

    def train_dataloader(self) -> Steps:
        steps = self.trainer.max_steps * self.trainer.accumulate_grad_batches
        return Steps(self, self.training, TRAINING, self.seen, steps)

    def val_dataloader(self) -> Steps:
        return Steps(self, self.validation, HELD_OUT, 0, self.held_out)

    def state_dict(self) -> dict[str, int]:
        return {"seen": self.trainer.fit_loop.epoch_loop.total_batch_idx + 1}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.seen = state["seen"]


class Turn(NamedTuple):
    """The windows of one group of shards, in the endless shuffled sequence of all windows."""

    number: int
    """Which pass over all windows."""
    index: int
    """Which group of the pass."""
    group: list[int]
    begin: int
    """The place of the first in the sequence, and that after the last."""
    end: int


class Steps:
    """A sized loader of the batches `first` to `last`, a function of the seed, step and slot.

    A batch is a piece of an endless sequence of windows: pass after pass over all of them, in a
    pass group after group, and those of a group shuffled.
    """

    def __init__(
        self, data: Windows, held: Whole | Rotation, streams: Streams, first: int, last: int
    ):
        trainer = data.trainer
        self.objective, self.held = trainer.lightning_module, held
        self.seed, self.streams = data.seed, streams
        self.rank, self.world = trainer.global_rank, trainer.world_size
        self.batch, self.first, self.last = data.batch, first, last
        self.windows = held.windows(self.objective.encoder.stack, self.objective.offsets)
        self.every = int(self.windows.sum())
        self._dealt: tuple[int, list[Turn]] = -1, []
        self._shuffled: tuple[tuple[int, int], Tensor] = (-1, 0), torch.empty(0)
        if data.batch % self.world:
            raise UserError(
                f"a batch of {data.batch} samples cannot be shared by {self.world} ranks alike: "
                f"take a multiple of {self.world} for --data.batch"
            )
        if not self.every:
            raise UserError(
                f"no window of {self.objective.encoder.stack} screens at offsets "
                f"{self.objective.offsets} fits into an episode of "
                f"{', '.join(data.recordings)}: record more, or take nearer offsets"
            )

    def __len__(self) -> int:
        return self.last

    def __iter__(self) -> Iterator[Batch]:
        for step in range(self.first, self.last):
            yield self.draw(step)

    def draw(self, step: int) -> Batch:
        """The part of batch `step` that is this rank's."""
        slots = torch.arange(step * self.batch + self.rank, (step + 1) * self.batch, self.world)
        parts = [self._part(step, slots, turn) for turn in self._met(slots)]
        known = {name: _joined([part[name] for part in parts]) for name in parts[0]}
        return Batch(
            windows=known.pop("windows"),
            episode=known.pop("episode"),
            labels=known,
            step=step,
            rank=self.rank,
            world=self.world,
        )

    def _met(self, slots: Tensor) -> Iterator[Turn]:
        """The turns that the slots (ascending) belong to, in order."""
        first, last = int(slots[0]), int(slots[-1])
        for number in range(first // self.every, last // self.every + 1):
            for turn in self.turns(number):
                if turn.begin <= last and first < turn.end:
                    yield turn

    def turns(self, number: int) -> list[Turn]:
        """The turns of a pass; the last ones dealt are kept."""
        if self._dealt[0] != number:
            turns, end = [], number * self.every
            for index, group in enumerate(self.held.deal(number)):
                begin, end = end, end + int(self.windows[group].sum())
                turns.append(Turn(number, index, group, begin, end))
            self._dealt = number, [turn for turn in turns if turn.begin < turn.end]
        return self._dealt[1]

    def _part(self, step: int, slots: Tensor, turn: Turn) -> dict[str, Tensor]:
        """Windows, episodes and labels of the slots that belong to `turn`."""
        frames = self.held.hold(turn.group)
        anchors = self._anchors(turn, frames)
        # Every slot has some anchor here, so that its draws are the same wherever groups meet.
        at = anchors[(slots - turn.begin).clamp(0, len(anchors) - 1).to(anchors.device)]
        ranks = self.rank, self.world
        draws = Draws(self.streams.places, self.seed, step, len(at), at.device, *ranks)
        mine = slice(*torch.searchsorted(slots, torch.tensor([turn.begin, turn.end])).tolist())
        places = self.objective.places(at, frames, draws)[mine]
        windows = frames.windows(places.flatten(), self.objective.encoder.stack)
        known = frames.labels | {"game": frames.game}
        return {
            "windows": windows.view(*places.shape, *windows.shape[2:]),
            "episode": frames.episode[at[mine]],
        } | {name: known[name][places] for name in self.objective.labels}

    def _anchors(self, turn: Turn, frames: Frames) -> Tensor:
        """The anchors of a turn's windows, shuffled; the last ones drawn are kept."""
        if self._shuffled[0] != (turn.number, turn.index):
            starts = frames.starts(self.objective.encoder.stack, self.objective.offsets)
            # A pass's first group is shuffled as all windows are where they are one group.
            generator = keyed("cpu", self.streams.order, self.seed, turn.number, turn.index)
            order = torch.randperm(len(starts), generator=generator)
            self._shuffled = (turn.number, turn.index), starts[order.to(starts.device)]
        return self._shuffled[1]


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
