"""What feeds an objective: windows of recorded screens, each batch a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import lightning
import torch
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from fovea.atari.frames import Frames, check_fractions
from fovea.command import UserError
from fovea.pretrain.rotation import InMemory, Rotation, split_in_memory
from fovea.seeding import Draws, Stream, keyed


class Streams(NamedTuple):
    """What the seed is used for in a sequence of batches."""

    order: Stream
    places: Stream


TRAINING = Streams(Stream.ORDER, Stream.PLACES)
HELD_OUT = Streams(Stream.HELD_OUT_ORDER, Stream.HELD_OUT_PLACES)


class Batch(NamedTuple):
    """Windows, their labels, and the key of their draws."""

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
    """Windows of the training episodes; each comes once before any comes again.

    Args:
        recordings: folders that `fovea atari collect` made, one a game, or their parent.
        batch_size: samples a step, of all ranks together.
        fractions: shares of the episodes for training, validation and test. Validation is only
            used for `held_out/...` in the log; test is left to the probes.
        held_out: batches of the validation episodes that the held-out numbers are a mean of.
        memory: GiB of screens that are in memory at once; all, where it is left out. Where training
            and validation have more, groups of whole shards that fit are read one after another
            (see `pretrain.rotation`).
        strict: refuse recordings of a game that were played with different settings.
        seed: of the order of windows, and of the division into training, validation and test.
    """

    def __init__(
        self,
        recordings: list[str],
        batch_size: PositiveInt = 128,
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        held_out: PositiveInt = 16,
        memory: PositiveFloat | None = None,
        strict: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__()
        check_fractions(fractions)
        self.recordings, self.batch_size, self.seed = recordings, batch_size, seed
        self.training: InMemory | Rotation
        self.validation: InMemory | Rotation
        if memory is None:
            training, validation, _ = Frames.load(recordings, strict=strict).split(fractions, seed)
            self.training, self.validation = InMemory(training), InMemory(validation)
        else:
            self.training, self.validation = split_in_memory(
                recordings, fractions, memory, seed, strict
            )
        self.held_out = held_out
        self.first_batch = 0

    @property
    def frames(self) -> Frames:
        """The training frames that are in memory now."""
        return self.training.frames

    def setup(self, stage: str) -> None:
        self.first_batch = 0  # of a resumed run, the checkpoint's: it is loaded after this
        for source in (self.training, self.validation):
            source.to(self.trainer.strategy.root_device)

    def train_dataloader(self) -> Steps:
        """All batches of the run as one epoch of Lightning's, or of each of `max_epochs` passes."""
        steps = self.trainer.max_steps * self.trainer.accumulate_grad_batches
        return Steps(self, self.training, TRAINING, self.first_batch, steps if steps > 0 else None)

    def val_dataloader(self) -> Steps:
        return Steps(self, self.validation, HELD_OUT, 0, self.held_out)

    @property
    def seen(self) -> int:
        """The batches that were drawn and trained on, see `Steps`."""
        return self.trainer.fit_loop.epoch_loop.total_batch_idx + 1

    def state_dict(self) -> dict[str, int]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.first_batch = state["seen"]


class Segment(NamedTuple):
    """The windows of one group of shards, in the endless shuffled sequence of all windows."""

    epoch: int
    """Which pass over all windows."""
    index: int  # type: ignore[assignment]  # and not the method of tuples
    """Which group of the pass."""
    group: list[int]
    begin: int
    """The position of its first window in the sequence."""
    end: int
    """The position after its last window."""


class Steps:
    """A sized loader of the batches `first` to `last`, a function of the seed, step and slot.

    Where `last` is None it yields one pass over all windows, that which `first` belongs to, and the
    next when it is asked again: as many batches as fit into a pass.

    A batch is a piece of an endless sequence of windows: epoch after epoch, each a pass over all of
    them; in an epoch group after group, and the windows of a group shuffled.

    What it relies on in Lightning, and tests/pretrain/test_library.py holds:

    * A loader that has a length is not prefetched from: when a batch is drawn, all before it were
      trained on. Without `__len__` one batch is drawn ahead, and lost where an epoch of Lightning's
      ends before the loader does (`limit_train_batches`), since the next epoch goes on after it.
    * `total_batch_idx + 1` is the number of batches that were drawn and trained on whenever a
      checkpoint is written: a resumed run begins with the batch of this number.
    * Lightning restores how many batches of its epoch are over. So the length is `last`, counted
      from 0, also where `first` is not 0.
    """

    def __init__(
        self,
        data: Windows,
        source: InMemory | Rotation,
        streams: Streams,
        first: int,
        last: int | None,
    ):
        trainer = data.trainer
        self.objective, self.source = trainer.lightning_module, source
        self.seed, self.streams = data.seed, streams
        self.rank, self.world = trainer.global_rank, trainer.world_size
        self.batch_size, self.first = data.batch_size, first
        self.counts = source.count_windows(self.objective.encoder.stack, self.objective.offsets)
        self.windows_per_epoch = int(self.counts.sum())
        self._segments: tuple[int, list[Segment]] = -1, []
        self._shuffled: tuple[tuple[int, int], Tensor] = (-1, 0), torch.empty(0)
        if self.batch_size % self.world:
            raise UserError(
                f"a batch of {self.batch_size} samples cannot be divided evenly among {self.world} "
                f"ranks: take a multiple of {self.world} for --data.batch_size"
            )
        if not self.windows_per_epoch:
            raise UserError(
                f"no window of {self.objective.encoder.stack} screens at offsets "
                f"{self.objective.offsets} fits into an episode of "
                f"{', '.join(data.recordings)}: record more, or take nearer offsets"
            )

        self.one_pass = last is None
        self.last = max(1, self.windows_per_epoch // self.batch_size) if last is None else last

    def __len__(self) -> int:
        return self.last

    def __iter__(self) -> Iterator[Batch]:
        end = self.last
        if self.one_pass:
            end += self.first // self.last * self.last
        for step in range(self.first, end):
            if self.streams is TRAINING:  # validation sees the same batches every time
                self.first = step + 1
            yield self.draw(step)

    def draw(self, step: int) -> Batch:
        """The part of batch `step` that is this rank's."""
        size = self.batch_size
        slots = torch.arange(step * size + self.rank, (step + 1) * size, self.world)
        parts = [self._part(step, slots, segment) for segment in self._segments_of(slots)]
        columns = {name: _concatenated([part[name] for part in parts]) for name in parts[0]}
        return Batch(
            windows=columns.pop("windows"),
            episode=columns.pop("episode"),
            labels=columns,
            step=step,
            rank=self.rank,
            world=self.world,
        )

    def segments(self, epoch: int) -> list[Segment]:
        """The segments of an epoch; the last ones computed are kept."""
        if self._segments[0] != epoch:
            segments, end = [], epoch * self.windows_per_epoch
            for index, group in enumerate(self.source.groups(epoch)):
                begin, end = end, end + int(self.counts[group].sum())
                segments.append(Segment(epoch, index, group, begin, end))
            self._segments = epoch, [one for one in segments if one.begin < one.end]
        return self._segments[1]

    def _segments_of(self, slots: Tensor) -> Iterator[Segment]:
        """The segments that the slots (ascending) belong to, in order."""
        first, last = int(slots[0]), int(slots[-1])
        for epoch in range(first // self.windows_per_epoch, last // self.windows_per_epoch + 1):
            for segment in self.segments(epoch):
                if segment.begin <= last and first < segment.end:
                    yield segment

    def _part(self, step: int, slots: Tensor, segment: Segment) -> dict[str, Tensor]:
        """Windows, episodes and labels of the slots that belong to `segment`."""
        frames = self.source.load(segment.group)
        anchors = self._anchors(segment, frames)
        # Slots of other segments get some anchor of this one, so that every slot meets the same
        # draws wherever segments meet.
        at = anchors[(slots - segment.begin).clamp(0, len(anchors) - 1).to(anchors.device)]
        ranks = self.rank, self.world
        draws = Draws(self.streams.places, self.seed, step, len(at), at.device, *ranks)
        bounds = torch.tensor([segment.begin, segment.end])
        mine = slice(*torch.searchsorted(slots, bounds).tolist())
        places = self.objective.places(at, frames, draws)[mine]
        windows = frames.windows(places.flatten(), self.objective.encoder.stack)
        labels = frames.labels | {"game": frames.game}
        return {
            "windows": windows.view(*places.shape, *windows.shape[2:]),
            "episode": frames.episode[at[mine]],
        } | {name: labels[name][places] for name in self.objective.labels}

    def _anchors(self, segment: Segment, frames: Frames) -> Tensor:
        """The anchors of a segment's windows, shuffled; the last ones drawn are kept."""
        key = segment.epoch, segment.index
        if self._shuffled[0] != key:
            starts = frames.starts(self.objective.encoder.stack, self.objective.offsets)
            # The first group of an epoch is shuffled like all windows where they are one group.
            generator = keyed("cpu", self.streams.order, self.seed, *key)
            order = torch.randperm(len(starts), generator=generator)
            self._shuffled = key, starts[order.to(starts.device)]
        return self._shuffled[1]


def _concatenated(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
