"""Supervised: the console's memory is read from its screens, as the ceiling of what probes find.

With random labels it is the control of every pretraining: the same encoder, trained equally long
on memories that say nothing of the screens. Which variables are asked for is AtariARI's choice
(Anand et al. 2019, arXiv 1906.08226): those of its table whose bytes vary (`ram.varied`).

The head sees features as they differ within their game (`terms.centering`): normalised over a batch
of several games alone, what sets a game's screens apart is too little of them to be read.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.atari.frames import Frames
from fovea.atari.ram import varied
from fovea.command import UserError
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.terms.centering import within
from fovea.pretrain.terms.cls_and_mean import seen
from fovea.pretrain.terms.order import weighted_mean
from fovea.pretrain.terms.precision import full_precision
from fovea.seeding import Draws, Stream, seeded, uniform_by_index

VALUES = 256  # of a byte


class Supervised(Objective):
    """The varying bytes of each game's memory, read linearly from summary and mean token.

    Args:
        loss: regression: squared error of the bytes, standardised game by game over the training
            screens; classification: cross-entropy of the 256 values of each.
        random: instead of its own, each screen has the memory of a training screen of its game
            that the seed chooses, always the same.
    """

    def __init__(
        self,
        loss: Literal["regression", "classification"] = "regression",
        random: bool = False,
        **base,
    ):
        super().__init__(**base)
        self.classifies, self.random = loss == "classification", random
        self.labels = ("ram", "game", "place") if random else ("ram", "game")

    def prepare(self, frames: Frames) -> None:
        """Find what is asked for: Q bytes of all games, each with its game, mean and std.

        Raises UserError where no game has a table of its memory.
        """
        memory = [frames.of(game).labels["ram"] for game in frames.games]
        asked = [
            (index, variable.byte)
            for index, (game, ram) in enumerate(zip(frames.games, memory, strict=True))
            for variable in varied(game, ram.cpu())
        ]
        if not asked:
            raise UserError(
                f"no table names the memory of {', '.join(frames.games)}: record another game"
            )
        game, byte = torch.tensor(asked).T
        counts = [memory[g][:, b].long().bincount(minlength=VALUES) for g, b in asked]
        shares = torch.stack(counts).double()
        shares /= shares.sum(1, keepdim=True)
        values = torch.arange(VALUES, dtype=shares.dtype, device=shares.device)
        mean = shares @ values
        std = (shares @ values.pow(2) - mean.pow(2)).sqrt()
        self.register_buffer("game", game)
        self.register_buffer("byte", byte)
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())
        self.memory = frames.labels["ram"]
        self.screens = frames.game.bincount(minlength=len(frames.games))
        inside, outside = 2 * self.encoder.dim, len(asked) * (VALUES if self.classifies else 1)
        with seeded(Stream.OBJECTIVE_HEAD, self.seed), torch.no_grad():
            self.head = nn.Linear(inside, outside)
            if self.classifies:  # it starts from how often each value is met
                self.head.bias.copy_(shares.clamp(min=1e-6).log().flatten())

    def views(
        self, windows: Tensor, draws: Draws, ram: Tensor, game: Tensor, place: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Screens (B, stack, H, W) uint8, the bytes (B, Q) int64 and the game (B,) int64."""
        ram, game = ram[:, 0], game[:, 0]
        if self.random:
            ram = self.memory[self.others(place[:, 0], game)]
        return windows[:, 0], ram[:, self.byte].long(), game

    def others(self, place: Tensor, game: Tensor) -> Tensor:
        """(B,) int64: the training screens of a `game` (B,) whose memory screens `place` have."""
        # The screens of a game lie side by side.
        first = self.screens.cumsum(0) - self.screens
        return (
            first[game]
            + (uniform_by_index(place, Stream.RANDOM_LABELS, self.seed) * self.screens[game]).long()
        )

    def losses(self, screens: Tensor, state: Tensor, game: Tensor) -> dict[str, Tensor]:
        (features,) = self.encode(screens)
        state, game = self.join(state, game)
        asked = (game[:, None] == self.game).float()
        wanted = (state - self.mean) / self.std
        said = self.head(within(seen(features), game))
        if self.classifies:
            logits = said.unflatten(1, (-1, VALUES))
            loss = classification(logits, state, asked)
            said = (expected(logits) - self.mean) / self.std
        else:
            loss = regression(said, wanted, asked)
        self.note(state_r2=explained(said, wanted, asked))
        return {"state": loss}


@full_precision
def regression(said: Tensor, wanted: Tensor, asked: Tensor) -> Tensor:
    """Mean squared error of standardised bytes (B, Q), over those that are `asked` for (1)."""
    return weighted_mean((said - wanted).pow(2), asked)


@full_precision
def classification(logits: Tensor, state: Tensor, asked: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, Q, 256) and bytes (B, Q), over those `asked` for (1)."""
    return weighted_mean(F.cross_entropy(logits.mT, state, reduction="none"), asked)


@full_precision
def expected(logits: Tensor) -> Tensor:
    """(B, Q) the mean byte of the distributions with logits (B, Q, 256)."""
    return logits.softmax(-1) @ torch.arange(VALUES, dtype=logits.dtype, device=logits.device)


@full_precision
def explained(said: Tensor, wanted: Tensor, asked: Tensor) -> Tensor:
    """R2: the share of the variance of standardised bytes (B, Q) that is told, pooled.

    1: all of it, 0: no more than by the mean of the training screens, below: less than that.
    """
    return 1 - weighted_mean((said - wanted).pow(2), asked) / weighted_mean(wanted.pow(2), asked)
