"""In which order windows come: an endless sequence of a source's windows, shuffled by the seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from fovea.atari.frames import Frames
from fovea.pretrain.rotation import Rotation
from fovea.seeding import Draws, Stream, keyed


class Streams(NamedTuple):
    """What the seed is used for in a sequence of batches."""

    order: Stream
    places: Stream


TRAINING = Streams(Stream.ORDER, Stream.PLACES)
HELD_OUT = Streams(Stream.HELD_OUT_ORDER, Stream.HELD_OUT_PLACES)


class Sampled(Protocol):
    """What an `Objective` says of its samples."""

    encoder: Any
    offsets: tuple[int, ...]
    labels: tuple[str, ...]

    def places(self, at: Tensor, frames: Frames, draws: Draws) -> Tensor:
        """(B, K) int64: the newest screens of the windows of the anchors `at` (B,)."""
        ...


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


class Order:
    """Epoch after epoch, each a pass over all windows; in it group after group, each shuffled.

    Args:
        objective: says which windows belong to a sample, and which labels.
        source: of the frames.
        streams: what the seed is used for.
        seed: of the order.
        share: the number of the source, where frames are dealt to several.
    """

    def __init__(
        self,
        objective: Sampled,
        source: Rotation,
        streams: Streams,
        seed: int,
        share: int = 0,
    ):
        self.objective, self.source, self.streams = objective, source, streams
        self.seed, self.share = seed, share
        self.counts = source.count_windows(objective.encoder.stack, objective.offsets)
        self.windows_per_epoch = int(self.counts.sum())
        self._segments: tuple[int, list[Segment]] = -1, []
        self._shuffled: tuple[tuple[int, int], Tensor] = (-1, 0), torch.empty(0)

    def samples(self, step: int, slots: Tensor, rank: int, world: int) -> dict[str, Tensor]:
        """Windows, episodes and labels of the samples at these places (n,), ascending.

        Args:
            step: of the batch.
            slots: in the sequence.
            rank, world: which of the batch's draws are theirs, see `Draws`.
        """
        parts = [
            self._part(step, slots, segment, rank, world) for segment in self._segments_of(slots)
        ]
        return {name: _concatenated([part[name] for part in parts]) for name in parts[0]}

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

    def _part(
        self, step: int, slots: Tensor, segment: Segment, rank: int, world: int
    ) -> dict[str, Tensor]:
        """Windows, episodes and labels of the slots that belong to `segment`."""
        frames = self.source.load(segment.group)
        anchors = self._anchors(segment, frames)
        # Slots of other segments get some anchor of this one, so that every slot meets the same
        # draws wherever segments meet.
        at = anchors[(slots - segment.begin).clamp(0, len(anchors) - 1).to(anchors.device)]
        draws = Draws(self.streams.places, self.seed, step, len(at), at.device, rank, world)
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
            share = [self.share] if self.share else []
            generator = keyed("cpu", self.streams.order, self.seed, *key, *share)
            order = torch.randperm(len(starts), generator=generator)
            self._shuffled = key, starts[order.to(starts.device)]
        return self._shuffled[1]


def _concatenated(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
