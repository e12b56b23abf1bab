"""What feeds an objective: windows of recorded screens, each batch a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import lightning
import torch
from torch import Tensor

from atari.command import UserError
from atari.frames import Frames
from pretrain.draws import keyed

ORDER = 1  # keeps the order of samples apart from every other use of the seed


class Batch(NamedTuple):
    """Windows and the key of their draws."""

    windows: Tensor
    """(B, K, stack, H, W) uint8, K = len(offsets), oldest screen first."""
    step: int
    rank: int
    world: int


class Windows(lightning.LightningDataModule):
    """Windows of the training episodes, every window once before any comes again.

    Args:
        recordings: folders that `python -m atari collect` made, one a game.
        batch: samples a step and rank.
        fractions: shares of the episodes for training, validation and test; only the first is
            seen here, the others are left to the probes.
        seed: of the split and of the order.
    """

    def __init__(
        self,
        recordings: list[str],
        batch: int = 128,
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        seed: int = 0,
    ):
        super().__init__()
        self.recordings, self.batch, self.seed = recordings, batch, seed
        self.frames = Frames.load(recordings).split(fractions, seed)[0]
        self.seen = 0

    def setup(self, stage: str) -> None:
        self.frames = self.frames.to(self.trainer.strategy.root_device)

    def train_dataloader(self) -> Steps:
        objective, trainer = self.trainer.lightning_module, self.trainer
        return Steps(self, objective.encoder.stack, objective.offsets, trainer)

    def state_dict(self) -> dict[str, int]:
        return {"seen": self.trainer.fit_loop.epoch_loop.total_batch_idx + 1}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.seen = state["seen"]


class Steps:
    """A sized loader that starts where the run was interrupted."""

    def __init__(self, data: Windows, stack: int, offsets: tuple[int, ...], trainer):
        self.data, self.stack, self.offsets = data, stack, offsets
        self.rank, self.world = trainer.global_rank, trainer.world_size
        self.steps = trainer.max_steps * trainer.accumulate_grad_batches
        self.starts = data.frames.starts(stack, offsets)
        self._drawn: tuple[int, Tensor] = -1, torch.empty(0)
        if not len(self.starts):
            raise UserError(
                f"no window of {stack} screens at offsets {offsets} fits into an episode of "
                f"{', '.join(data.recordings)}: record more, or take nearer offsets"
            )

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        total = self.data.batch * self.world
        for step in range(self.data.seen, self.steps):
            slots = torch.arange(step * total + self.rank, (step + 1) * total, self.world)
            at = self.starts[self.pick(slots).to(self.starts.device)]
            windows = self.data.frames.windows(at, self.stack, self.offsets)
            yield Batch(windows, step, self.rank, self.world)

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
            generator = keyed("cpu", self.data.seed, number, ORDER)
            self._drawn = number, torch.randperm(len(self.starts), generator=generator)
        return self._drawn[1]
