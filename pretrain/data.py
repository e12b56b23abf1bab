"""What feeds an objective: windows of recorded screens, each batch a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import lightning
import torch
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from fovea.atari.frames import Frames, check_fractions
from fovea.atari.parquet import SCREEN_BYTES
from fovea.command import UserError
from fovea.pretrain.order import HELD_OUT, TRAINING, Order, Streams
from fovea.pretrain.rotation import Rotation, split_in_memory


class Batch(NamedTuple):
    """Windows, their labels, and the key of their draws."""

    windows: Tensor
    """(B, K, stack, H, W) uint8, oldest screen first."""
    labels: dict[str, Tensor]
    """Those that the objective asks for, (B, K, ...), of the newest screen of each window."""
    step: int
    """Its number, counted from 0."""
    rank: int
    """Whose part of the batch it is."""
    world: int
    """Of how many ranks."""
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
        memory: GiB of screens that are in memory at once, those of all shares together; all, where
            it is left out. Where training
            and validation have more, groups of whole shards that fit are read one after another
            (see `pretrain.rotation`).
        shares: parts that whole shards are dealt to. Each batch takes equally many samples of each,
            and a rank holds only the frames of its own; what is drawn depends on their number and
            not on that of ranks, of which it is a multiple. 1: every rank holds all frames.
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
        shares: PositiveInt = 1,
        strict: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__()
        check_fractions(fractions)
        self.recordings, self.batch_size, self.seed = recordings, batch_size, seed
        self.training, self.validation = split_in_memory(
            recordings, fractions, memory, seed, strict, shares
        )
        self.held_out = held_out
        self.first_batch = 0

    @property
    def frames(self) -> Frames:
        """The training frames of the first share that are in memory now, or are loaded for this."""
        return self.training[0].frames

    @property
    def games(self) -> tuple[str, ...]:
        """The rom ids of all games."""
        return self.training[0].outline.games

    @property
    def data(self) -> dict[str, str]:
        """The SHA-256 of each game's recordings, see `Frames`."""
        return self.training[0].outline.data

    @property
    def repeated_bytes(self) -> int:
        """What the screens take that every rank holds in memory; 0 where each has its own."""
        if len(self.training) > 1:
            return 0
        return SCREEN_BYTES * (self.training[0].limit + self.validation[0].limit)

    @property
    def absent(self) -> dict[str, set[str]]:
        """For each game the labels that its recordings lack, see `Frames`."""
        return self.training[0].outline.absent

    def setup(self, stage: str) -> None:
        self.first_batch = 0  # of a resumed run, the checkpoint's: it is loaded after this
        for source in (*self.training, *self.validation):
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


class Steps:
    """A sized loader of the batches `first` to `last`, a function of the seed, step and slot.

    Where `last` is None it yields one pass over all windows, that which `first` belongs to, and the
    next when it is asked again: as many batches as fit into a pass.

    A batch takes equally many samples of the `Order` of each share. Where there is one share, ranks
    take turns in it; else each rank has shares of its own, and frees what it holds of others.

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
        sources: Sequence[Rotation],
        streams: Streams,
        first: int,
        last: int | None,
    ):
        trainer = data.trainer
        self.rank, self.world = trainer.global_rank, trainer.world_size
        self.batch_size, self.first, self.streams = data.batch_size, first, streams
        self.orders = [
            Order(trainer.lightning_module, source, streams, data.seed, share)
            for share, source in enumerate(sources)
        ]
        self.windows_per_epoch = sum(order.windows_per_epoch for order in self.orders)
        self.check(data.recordings)
        self.mine = range(self.rank, len(sources), self.world) if len(sources) > 1 else [0]
        for share, source in enumerate(sources):
            if share not in self.mine:
                source.release()
        self.one_pass = last is None
        self.last = max(1, self.windows_per_epoch // self.batch_size) if last is None else last

    def check(self, recordings: list[str]) -> None:
        """Raise UserError where batches or shares cannot be divided, or there are no windows."""
        shares, world, size = len(self.orders), self.world, self.batch_size
        if size % world:
            raise UserError(
                f"a batch of {size} samples cannot be divided evenly among {world} "
                f"ranks: take a multiple of {world} for --data.batch_size"
            )
        if shares > 1 and shares % world:
            raise UserError(
                f"{shares} shares cannot be divided evenly among {world} ranks: take a multiple of "
                f"{world} for --data.shares, or 1, with which each rank holds all frames"
            )
        if size % shares:
            raise UserError(
                f"a batch of {size} samples cannot be divided evenly among {shares} "
                f"shares: take a multiple of {shares} for --data.batch_size"
            )
        if not all(order.windows_per_epoch for order in self.orders):
            objective = self.orders[0].objective
            within = "an episode"
            if self.streams is HELD_OUT:  # whose screens are none that training has too
                within = "a validation episode, apart from screens that training shows too,"
            raise UserError(
                f"no window of {objective.encoder.stack} screens at offsets "
                f"{objective.offsets} fits into {within} of "
                f"{', '.join(recordings)}{' in each share' if shares > 1 else ''}: record more, or "
                f"take nearer offsets{' or fewer --data.shares' if shares > 1 else ''}"
            )

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
        shares = len(self.orders)
        size = self.batch_size // shares
        first, end = step * size, (step + 1) * size
        if shares == 1:
            slots = torch.arange(first + self.rank, end, self.world)
            columns = self.orders[0].samples(step, slots, self.rank, self.world)
        else:
            slots = torch.arange(first, end)
            parts = [self.orders[share].samples(step, slots, share, shares) for share in self.mine]
            columns = {name: _in_turn([part[name] for part in parts]) for name in parts[0]}
        return Batch(
            windows=columns.pop("windows"),
            episode=columns.pop("episode"),
            labels=columns,
            step=step,
            rank=self.rank,
            world=self.world,
        )


def _in_turn(parts: list[Tensor]) -> Tensor:
    """The first sample of each part, then the second of each, and so on."""
    return parts[0] if len(parts) == 1 else torch.stack(parts, dim=1).flatten(0, 1)
