"""What feeds an objective: windows of recorded screens, each batch a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import lightning
import torch
from torch import Tensor

from atari.command import UserError
from atari.frames import Frames
from pretrain.draws import Draws, keyed

ORDER = 1  # keeps the order of samples apart from every other use of the seed
PLACES = 3  # and the places of their windows
HELD_OUT = 4  # and both apart from those of the held-out batches


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
        recordings: folders that `python -m atari collect` made, one a game.
        batch: samples a step, of all ranks together.
        fractions: shares of the episodes for training, validation and test; the second is seen
            only by `held_out/...` in the log, the third is left to the probes.
        held_out: batches of the validation episodes that the held-out numbers are a mean of.
        seed: of the split and of the order.
    """

    def __init__(
        self,
        recordings: list[str],
        batch: int = 128,
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        held_out: int = 16,
        seed: int = 0,
    ):
        super().__init__()
        self.recordings, self.batch, self.seed = recordings, batch, seed
        self.frames, self.validation, _ = Frames.load(recordings).split(fractions, seed)
        self.held_out = held_out
        self.seen = 0

    def setup(self, stage: str) -> None:
        device = self.trainer.strategy.root_device
        self.frames, self.validation = self.frames.to(device), self.validation.to(device)

    def train_dataloader(self) -> Steps:
        steps = self.trainer.max_steps * self.trainer.accumulate_grad_batches
        return Steps(self, self.frames, self.seed, self.seen, steps)

    def val_dataloader(self) -> Steps:
        return Steps(self, self.validation, self.seed ^ HELD_OUT, 0, self.held_out)

    def state_dict(self) -> dict[str, int]:
        return {"seen": self.trainer.fit_loop.epoch_loop.total_batch_idx + 1}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.seen = state["seen"]


class Steps:
    """A sized loader of the batches `first` to `last`, a function of the seed, step and slot."""

    def __init__(self, data: Windows, frames: Frames, seed: int, first: int, last: int):
        trainer = data.trainer
        self.objective, self.frames, self.seed = trainer.lightning_module, frames, seed
        self.rank, self.world = trainer.global_rank, trainer.world_size
        self.batch, self.first, self.last = data.batch, first, last
        self.starts = frames.starts(self.objective.encoder.stack, self.objective.offsets)
        self._drawn: tuple[int, Tensor] = -1, torch.empty(0)
        if data.batch % self.world:
            raise UserError(
                f"a batch of {data.batch} samples cannot be shared by {self.world} ranks alike: "
                f"take a multiple of {self.world} for --data.batch"
            )
        if not len(self.starts):
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
        at = self.starts[self.pick(slots).to(self.starts.device)]
        draws = Draws(self.seed ^ PLACES, step, len(at), at.device, self.rank, self.world)
        places = self.objective.places(at, self.frames, draws)
        windows = self.frames.windows(places.flatten(), self.objective.encoder.stack)
        known = self.frames.labels | {"game": self.frames.game}
        labels = {
            name: places if name == "place" else known[name][places]
            for name in self.objective.labels
        }
        return Batch(
            windows.view(*places.shape, *windows.shape[2:]),
            labels,
            step,
            self.rank,
            self.world,
            self.frames.episode[at],
        )

    def pick(self, slots: Tensor) -> Tensor:
        """Which window stands at each place of the endless shuffled sequence of all windows."""
        passes, places = slots // len(self.starts), slots % len(self.starts)
        picked = torch.empty_like(slots)
        for number in passes.unique().tolist():
            here = passes == number
            picked[here] = self._order(number)[places[here]]
        return picked

    def _order(self, number: int) -> Tensor:
        """A permutation of all windows for pass `number`; the last one drawn is kept."""
        if self._drawn[0] != number:
            generator = keyed("cpu", self.seed, number, ORDER)
            self._drawn = number, torch.randperm(len(self.starts), generator=generator)
        return self._drawn[1]
